"""Time zones by the names that people say: a zone's own, its city's, or that of a place in it."""

from __future__ import annotations

import re
from functools import lru_cache
from zoneinfo import available_timezones

from ..core.errors import ToolFailed, nearest

_PLACES = {
    "Africa/Cairo": "egypt, 开罗, 埃及",
    "Africa/Johannesburg": "south africa, cape town, 约翰内斯堡, 南非",
    "America/Chicago": "houston, dallas, austin, 芝加哥",
    "America/Los_Angeles": "san francisco, seattle, las vegas, california, 洛杉矶, 旧金山, 西雅图",
    "America/Mexico_City": "mexico, 墨西哥",
    "America/New_York": "washington, washington dc, boston, miami, philadelphia, nyc, 纽约, 华盛顿, 波士顿",
    "America/Sao_Paulo": "rio de janeiro, brasilia, brazil, 圣保罗, 里约热内卢, 巴西",
    "America/Toronto": "montreal, ottawa, 多伦多",
    "America/Vancouver": "温哥华",
    "Asia/Bangkok": "thailand, 曼谷, 泰国",
    "Asia/Dubai": "abu dhabi, uae, 迪拜",
    "Asia/Hong_Kong": "香港",
    "Asia/Jakarta": "indonesia, 雅加达",
    "Asia/Jerusalem": "israel, 耶路撒冷, 以色列",
    "Asia/Kolkata": "india, delhi, new delhi, mumbai, bangalore, 印度, 新德里, 孟买",
    "Asia/Seoul": "south korea, korea, 首尔, 韩国",
    "Asia/Shanghai": "china, beijing, shenzhen, guangzhou, hangzhou, chengdu, wuhan, nanjing, "
    "中国, 北京, 上海, 深圳, 广州, 杭州, 成都, 武汉, 南京, 西安, 重庆, 天津",
    "Asia/Singapore": "新加坡",
    "Asia/Taipei": "taiwan, 台北, 台湾",
    "Asia/Tokyo": "japan, osaka, kyoto, 东京, 大阪, 京都, 日本",
    "Australia/Melbourne": "墨尔本",
    "Australia/Sydney": "canberra, 悉尼",
    "Europe/Amsterdam": "netherlands, 阿姆斯特丹, 荷兰",
    "Europe/Athens": "greece, 雅典, 希腊",
    "Europe/Berlin": "germany, munich, hamburg, frankfurt, cologne, 德国, 柏林, 慕尼黑, 法兰克福",
    "Europe/Istanbul": "turkey, ankara, 伊斯坦布尔, 土耳其",
    "Europe/London": "uk, united kingdom, england, britain, manchester, edinburgh, 伦敦, 英国",
    "Europe/Madrid": "spain, barcelona, 马德里, 巴塞罗那, 西班牙",
    "Europe/Moscow": "st petersburg, 莫斯科",
    "Europe/Paris": "france, lyon, marseille, 巴黎, 法国",
    "Europe/Rome": "italy, milan, venice, florence, 罗马, 米兰, 意大利",
    "Europe/Vienna": "austria, 维也纳, 奥地利",
    "Europe/Zurich": "switzerland, geneva, basel, bern, 苏黎世, 日内瓦, 瑞士",
    "Pacific/Auckland": "new zealand, wellington, 奥克兰, 新西兰",
    "Pacific/Honolulu": "hawaii, 夏威夷",
    "UTC": "local, now",
}
_OFFSET = re.compile(r"(?:utc|gmt)([+-]\d{1,2})(?::?00)?")
_MORE = re.compile(r"(?:_(?:city|time)|市|时间)$")


def zone_of(name: str) -> str:
    """The zone of that name, of that city or of its place, in any case; raises ToolFailed with the nearest.

    `UTC+8` is what people mean by it: east of Greenwich.
    """
    sought, known = re.sub(r"\s+", "_", name.strip().casefold()), _zones()
    if offset := _OFFSET.fullmatch(sought):
        sought = f"etc/gmt{-int(offset[1]):+d}"
    city = sought.partition(",")[0].rpartition("/")[2]
    for each in (sought, city, _MORE.sub("", city)):
        if each in known:
            return known[each]
    raise ToolFailed(f"there is no zone or city named {name!r}; {nearest(name, {*known, *known.values()})}")


@lru_cache
def _zones() -> dict[str, str]:
    """All zones by their names, by the last step of those, which is a city's, and by places; in small letters."""
    names = sorted(available_timezones(), key=lambda name: name.count("/"), reverse=True)
    return {
        **{place.replace(" ", "_"): zone for zone, places in _PLACES.items() for place in places.split(", ")},
        **{name.rpartition("/")[2].casefold(): name for name in names if "/" in name},
        **{name.casefold(): name for name in names},
        "": "UTC",
    }
