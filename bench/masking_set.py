"""The development set of masking: texts as they turn up in chats, code, logs, mails and forms, and what is in them.

Written from what issuers and standards bodies publish about their formats (vendors' pages on their tokens, the SWIFT
registry of IBANs, GB 11643, GB 32100 and GA 36 for China, the North American numbering plan, RFC 4291, 5322 and 9110),
and not from the recognisers that it measures: its check digits are its own. `tempting` are texts without a value.

Contexts and families are dealt out in turns to two halves. The half `dev` is for looking at what was missed; of `held`
only figures are read: nothing of its contexts and families is in the other half.
"""

from __future__ import annotations

import base64
import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SEED = 20261130
_SETS = {
    "h": "0123456789abcdef", "H": "0123456789ABCDEF", "a": string.ascii_letters + string.digits,
    "l": string.ascii_lowercase + string.digits, "U": string.ascii_uppercase + string.digits,
    "b": string.ascii_letters + string.digits + "+/", "w": string.ascii_letters + string.digits + "-_",
    "d": string.digits, "L": string.ascii_lowercase, "A": string.ascii_letters,
}  # fmt: skip
"""Letters of a form: `{a36}` is 36 of them. `{u}` is a UUID."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value that was put into a text."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A text, its values, and the language of what is around them."""

    text: str
    values: tuple[Value, ...]
    language: str = "en"


# -- keys: forms as their issuers document them. What has no prefix of its own stands in a context that says what it is.

TOKENS = (
    "ghp_{a36}", "gho_{a36}", "ghs_{a36}", "github_pat_{a22}_{a59}", "glpat-{w20}", "gldt-{w20}", "glrt-{w20}",
    "glptt-{h40}", "sk-proj-{w48}", "sk-ant-api03-{w93}AA", "sk-or-v1-{h64}", "sk-{h32}", "gsk_{a52}", "xai-{a80}",
    "pplx-{a48}", "hf_{A34}", "r8_{a37}", "AIza{w35}", "GOCSPX-{w28}", "ya29.{w120}", "AKIA{U16}", "ASIA{U16}",
    "LTAI{a20}", "AKID{a32}", "AKLT{a44}", "xoxb-{d12}-{d12}-{a24}", "xoxp-{d12}-{d12}-{d12}-{h32}",
    "xapp-1-A{U10}-{d13}-{h64}", "sk_live_{a24}", "rk_live_{a24}", "sk_test_{a99}", "whsec_{a32}",
    "sq0atp-{w22}", "sq0csp-{w43}", "EAAA{w60}", "shpat_{h32}", "shpss_{h32}", "SG.{w22}.{w43}", "key-{h32}",
    "xkeysib-{h64}-{a16}", "re_{a8}_{a24}", "PMAK-{h24}-{h34}", "NRAK-{U27}", "NRJS-{h19}", "glsa_{a32}_{h8}",
    "glc_{b60}", "dop_v1_{h64}", "doo_v1_{h64}", "npm_{a36}", "pypi-AgEIcHlwaS5vcmc{w70}", "rubygems_{h48}",
    "dckr_pat_{w27}", "hvs.{w90}", "hvb.{w140}", "{a14}.atlasv1.{w62}", "dp.pt.{a43}", "dp.st.prd.{a41}",
    "lin_api_{a40}", "secret_{a43}", "ntn_{a46}", "figd_{w40}", "pat{a14}.{h64}", "ATATT3xFfGF0{w170}={H8}",
    "ATBB{a24}{H8}", "sbp_{h40}", "sb_secret_{w31}", "nfp_{a36}", "rnd_{a28}", "vcp_{a56}", "fo1_{w43}", "pul-{h40}",
    "CFPAT-{w43}", "dapi{h32}", "dt0c01.{U24}.{U64}", "sntrys_{b80}", "sntryu_{h64}", "squ_{h40}", "sqp_{h40}",
    "AKCp{a69}", "CLOJARS_{l60}", "tfp_{w59}", "rdme_{l70}", "shippo_live_{h40}", "EZAK{a54}", "duffel_live_{w43}",
    "FLWSECK-{h32}-X", "fio-u-{w64}", "lip_{a20}", "pscale_tkn_{w43}", "pscale_pw_{w43}", "access-sandbox-{u}",
    "pat-na1-{u}", "api-{u}", "A3-{U6}-{U11}-{U5}-{U5}-{U5}", "AGE-SECRET-KEY-1{U58}", "CCIPAT_{a22}_{h40}",
    "bkua_{h40}", "pnu_{a36}", "sl.{w136}", "{d10}:AA{w33}", "M{a23}.{a6}.{w38}", "ico-{a32}", "HRKU-AA{w58}",
    "JDC_{U28}", "bce-v3/ALTAK-{a21}/{h40}", "{h32}.{a16}", "SK{h32}", "v1.0-{h24}-{h146}", "oy2{l43}",
    "cio{a32}", "1//0{w100}", "EAA{a90}ZDZD", "lsv2_pt_{h32}_{h10}", "tvly-dev-{a32}", "fw_{a24}", "jina_{h32}{a28}",
    "AC_{a40}", "pk_prod_{a32}", "zpka_{h32}_{h8}", "sess-{a40}", "ops_eyJ{a250}",
)  # fmt: skip
BARE = (
    "{h32}", "{h40}", "{a32}", "{a40}", "{b40}", "{h64}", "{l32}", "{u}", "{a20}", "{w43}", "{b86}==", "{b43}=",
)  # fmt: skip
"""Keys of issuers that give them no form: a cue is all that tells."""
CUED = (
    'api_key = "{}"', "DATADOG_API_KEY={}", '"client_secret": "{}"', "aws_secret_access_key = {}", "auth_token: {}",
    "X-Api-Key: {}", "the auth token of our Twilio account is {}", "SECRET_KEY_BASE={}", '{{"accessToken":"{}"}}',
    "AppSecret：{}", "密钥是{}，别外传", "webhook secret: {}", "const apiKey = '{}';", "--token {} --region eu",
    "MAILGUN_PRIVATE_KEY='{}'", "refresh_token={}&grant_type=refresh_token", "signing_secret: '{}'", "令牌：{}",
    "encryption_key: {}", "<add key=\"ApiSecret\" value=\"{}\"/>", "api-token={}",
    "SecretAccessKey：{}，区域cn-north-1",
    "curl -H 'X-Auth-Token: {}' https://api.example.net/v2", "HEROKU_API_KEY: {}", "访问密钥（{}）已轮换",
    "set ALGOLIA_ADMIN_KEY={}", "os.environ['STRIPE_SECRET'] = '{}'", "private_token={}", "app_secret: \"{}\",",
    "AccessKeySecret: {}", "dbutils token {} has leaked", "ws://feed.example.net/?apikey={}",
)  # fmt: skip
HEADERS = (
    "Authorization: Basic {BASIC}", "authorization: basic {BASIC}", "curl -H \"Authorization: Basic {BASIC}\" {HOST}",
    "Proxy-Authorization: Basic {BASIC}\r\nHost: a.example", '{{"Authorization": "Basic {BASIC}"}}',
    "Authorization: Bearer {OPAQUE}", "-H 'Authorization: Token {OPAQUE}'", "Authorization: token {OPAQUE}",
    "Cookie: sessionid={OPAQUE}; theme=dark; lang=en", "Set-Cookie: JSESSIONID={HEX32}; Path=/; HttpOnly",
    "Cookie: _ga=GA1.2.318.171; connect.sid=s%3A{OPAQUE}", "set-cookie: PHPSESSID={LOW26}; path=/",
    "Cookie: csrftoken={OPAQUE}; sid={HEX32}", "Set-Cookie: auth={OPAQUE}; Secure; SameSite=Lax",
    "DefaultEndpointsProtocol=https;AccountName=logs;AccountKey={AZURE};EndpointSuffix=core.windows.net",
    "Endpoint=sb://bus.example.net/;SharedAccessKeyName=Root;SharedAccessKey={SHARED}",
    "https://logs.blob.core.example/c/a.txt?sv=2022-11-02&sr=b&sp=r&sig={SIG}&se=2026-12-01",
    "SharedAccessSignature sr=bus.example.net&sig={SIG}&se=1764547200&skn=Root",
    "https://b.s3.example/x?X-Amz-Expires=900&X-Amz-Signature={HEX64}", "https://api.example.cn/v1?app=7&sign={HEX32}",
    "?access_token={OPAQUE}&expires_in=7200", "redis://:{PASSWORD}@cache.internal:6379/0",
    "postgresql://app:{PASSWORD}@db.internal:5432/shop", "mongodb+srv://root:{PASSWORD}@c0.example.net/?w=majority",
    "Server=db;Database=shop;User Id=sa;Password={PASSWORD};Encrypt=true", "mysql -uroot -p{PASSWORD} shop",
    "DB_PASSWORD={PASSWORD}", "spring.datasource.password={PASSWORD}", '"password": "{PASSWORD}"', "pwd: {PASSWORD}",
    "<password>{PASSWORD}</password>", "userPassword: '{PASSWORD}'", "sshpass -p {PASSWORD} ssh build.example.net",
    "PGPASSWORD={PASSWORD} psql", "curl -u admin:{PASSWORD} https://box.internal", "密码：{PASSWORD}",
    "初始密码为{PASSWORD}，登录后请修改", "WiFi密码{PASSWORD}", "口令是 {PASSWORD}。", "my password is {PASSWORD}, ok?",
    "passphrase: {PASSWORD}", "https://hooks.chat.example/services/T{UP8}/B{UP8}/{TAIL24}",
)  # fmt: skip


# -- the rest, in the spellings that people, programs and key boards give them

ENGLISH = (
    "Please mail {EMAIL} or call {PHONE}.", "From: {EMAIL}\nTo: {EMAIL}\nSubject: invoice", "cc {EMAIL}; {EMAIL}",
    '{{"user": "{EMAIL}", "phone_number": "{PHONE}"}}', "GET /unsubscribe?email={MAILURL}&list=3 HTTP/1.1",
    "[mail](mailto:{EMAIL}?subject=hi)", "contact\\n{EMAIL}\\n{PHONE}\\nregards", "<{EMAIL}> wrote on Monday:",
    "Tel. {PHONE} / Fax {PHONE}", "phone:{PHONE}", "You can reach me at {PHONE} after six.", "tel:{PHONE}",
    "my cell: {PHONE}", "customer,{EMAIL},{PHONE},active", "mobile={PHONE}", "WhatsApp {PHONE}",
    "Card {CARD}, exp 12/27", "charge {CARD} today", "card_number: \"{CARD}\"", "pay with {CARD} please",
    "CC={CARD};CVV=123", "Card no.\\t{CARD}\\tAnn", "visa {CARD} declined at 10:32", "Wire it to {IBAN}.",
    "IBAN: {IBAN}, BIC COBADEFFXXX", "iban={IBAN}", '"iban":"{IBAN}"', "account {IBAN} (savings)",
    "Beneficiary\\n{IBAN}\\nAmount 20", "SSN {SSN}", "social security number: {SSN}", '"ssn": "{SSN}"',
    "her social is {SSN2}", "passport no. {PASSPORT}", '"passport_number": "{PASSPORT}"', "Passport: {PASSPORT}",
    "passportNo={PASSPORT}", "travels on passport {PASSPORT}, valid to 2031", '{{"passport": {{"number": '
                                                                              '"{PASSPORT}"}}}}',
    "Failed login from {IP} port 22", "client={IP} status=403", "ping {IP}", '"remote_addr": "{IP}"',
    "{IP} - - [30/Nov/2026:10:00:00 +0000] \"GET / HTTP/1.1\" 200", "http://[{IP6}]:8080/", "nameserver {IP6}",
    "inet6 {IP6} scope global", "link/ether {MAC} brd", "hwaddr={MAC}", "arp: {IP} is at {MAC} on eth0",
    "interface Gi0/1 mac {CISCO}", "{CISCO} DYNAMIC Gi1/0/24", "dhcp lease {IP} {MAC} host-7",
    "NI: {EMAIL}, {CARD}, {PHONE}", "ship to Ann, {PHONE}, {EMAIL}", "uscc {USCC} (China entity)",
    "Chinese ID {CNID}", "supplier tax id: {USCC}", "id_card={CNID}", "extension {PHONEX}", "call {PHONEX} to confirm",
    "jwt {JWT}", "Cookie: token={JWT}", "{PEM}", "user {EMAIL} logged in from {IP} ({MAC})",
)  # fmt: skip
CHINESE = (
    "请联系{EMAIL}或拨打{MOBILE}。", "手机号码{MOBILE}已绑定", "联系电话：{MOBILE}（微信同号）",
    "座机{LANDLINE}，找王工",
    "总机{LANDEXT}。", "电话：{LANDEXT}，传真：{LANDLINE}", "热线{LANDLINE}转人工", "打{MOBILE}或者{MOBILE}都行",
    "收件人电话{MOBILE}，地址另附", '{{"手机":"{MOBILE}","邮箱":"{EMAIL}"}}', "客户\\n{MOBILE}\\n{EMAIL}\\n",
    "身份证号{CNID}。", "身份证：{CNID}，姓名保密", '"id_number":"{CNID}"', "证件号码为{CNID}的旅客",
    "老身份证{CNID15}",
    "银行卡{CARD}已冻结", "请打到{CARD}，开户行工行", "卡号：{CARD}，预留手机{MOBILE}", "{CARD}这张卡扣款失败",
    "统一社会信用代码{USCC}。", "纳税人识别号：{USCC}", "税号 {USCC} 开专票", '{{"uscc":"{USCC}"}}',
    "公司代码：{USCC}，法人略",
    "护照号{PASSPORT}。", "护照号码：{PASSPORT}，签发地北京", "持护照{PASSPORT}入境", '"护照":"{PASSPORT}"',
    "车牌{PLATE}违停", "车牌号：{PLATE}。", "新能源车{GREEN}可享优惠", "绿牌{GREEN}和蓝牌{PLATE}", "请{GREEN}车主挪车",
    "境外账户{IBAN}，请核对", "IBAN号：{IBAN}。", "从{IP}登录失败三次", "服务器{IP}，网关{IP}", "设备MAC：{MAC}。",
    "交换机学到{CISCO}", "IPv6地址{IP6}不通", "邮箱{EMAIL}收不到信", "发到{EMAIL}即可", "抄送{EMAIL}，{EMAIL}",
    "手机{MOBILE}、身份证{CNID}、卡{CARD}", "用户{EMAIL}在{IP}修改了密码", "法人手机{MOBILE}，税号{USCC}",
    "密钥{JWT}过期", "车主{MOBILE}，车牌{GREEN}", "来电{LANDLINE}未接", "回电{MOBILE}！", "加我微信{MOBILE}",
    "登记人证件{CNID}；电话{LANDLINE}", "短信发到了{MOBILE},请查收", "海外客户电话{INTL}", "联系人手机：{INTL}",
)  # fmt: skip


class Values:
    """Values of each kind, drawn under a seed, spelled in the ways of the half that they are for."""

    def __init__(self, seed: int, half: int) -> None:
        self.draw, self._half = random.Random(seed), half

    def of(self, kind: str) -> str:
        """A value of a kind."""
        return str(getattr(self, kind.lower())())

    def form(self, form: str) -> str:
        """A text of a form: letters of a set (`{h8}`), a UUID (`{u}`), a number of a range (`{n1-9}`)."""
        form = re.sub(r"\{n(\d+)-(\d+)\}", lambda match: str(self.draw.randint(int(match[1]), int(match[2]))), form)
        form = form.replace("{u}", "{h8}-{h4}-4{h3}-a{h3}-{h12}")
        return re.sub(r"\{([a-zA-Z])(\d+)\}", lambda match: self.some(match[1], int(match[2])), form)

    def some(self, which: str, count: int) -> str:
        return "".join(self.draw.choices(_SETS[which], k=count))

    def digits(self, count: int) -> str:
        return self.some("d", count)

    def spaced(self, groups: Sequence[str], kinds: str = " -") -> str:
        """Groups put together by one of a few separators; hard ones among them."""
        return self.draw.choice(("", *kinds)).join(groups)

    # numbers

    def card(self) -> str:
        begin, length = self.draw.choice(
            (("4", 16), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("622202", 19), ("621700", 19),
             ("622848", 19), ("625", 16), ("3528", 16))
        )  # fmt: skip
        body = begin + self.digits(length - len(begin) - 1)
        number = body + _luhn(body)
        if length == 15:
            return self.spaced((number[:4], number[4:10], number[10:]), " -.\xa0")
        return self.spaced(re.findall(".{1,4}", number), " -.\xa0\u2011" if self._half else " -.\u202f\u2010")

    def iban(self) -> str:
        country, form = self.draw.choice(
            (("DE", "{d18}"), ("GB", "NWBK{d14}"), ("FR", "{d10}{U11}{d2}"), ("NL", "ABNA{d10}"), ("CH", "{d17}"),
             ("ES", "{d20}"), ("IT", "X{d10}{d12}"), ("PL", "{d24}"), ("SE", "{d20}"), ("NO", "{d11}"))
        )  # fmt: skip
        body = self.form(form)
        number = "".join(str(int(letter, 36)) for letter in f"{body}{country}00")
        whole = f"{country}{98 - int(number) % 97:02}{body}"
        whole = self.draw.choice((whole, whole, " ".join(re.findall(".{1,4}", whole)), "-".join(re.findall(".{1,4}",
                                                                                                           whole)),
                                  "\xa0".join(re.findall(".{1,4}", whole))))  # fmt: skip
        return whole.lower() if self.draw.random() < 0.3 else whole

    def ssn(self) -> str:
        first = self.draw.choice([n for n in range(1, 899) if n != 666])
        return self.draw.choice(("-", "-", "-", "\u2011")).join(
            (f"{first:03}", f"{self.draw.randint(1, 99):02}", f"{self.draw.randint(1, 9999):04}")
        )

    def ssn2(self) -> str:
        return re.sub(r"\W", self.draw.choice(("", " ", ".")), self.ssn())

    def cnid(self) -> str:
        area = self.draw.choice(("110105", "310101", "440305", "330106", "510104", "420111", "610113", "210102"))
        born = f"{self.draw.randint(1950, 2005)}{self.draw.randint(1, 12):02}{self.draw.randint(1, 28):02}"
        body = area + born + self.digits(3)
        weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
        last = "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]
        whole = (area, born, body[14:] + (last if self.draw.random() < 0.7 else last.lower()))
        return self.spaced(whole, " " if self._half else " -\xa0") if self.draw.random() < 0.4 else "".join(whole)

    def cnid15(self) -> str:
        born = f"{self.draw.randint(40, 85)}{self.draw.randint(1, 12):02}{self.draw.randint(1, 28):02}"
        return f"110105{born}{self.digits(3)}"

    def uscc(self) -> str:
        letters = "0123456789ABCDEFGHJKLMNPQRTUWXY"
        body = self.draw.choice(("91", "92", "93", "12", "51")) + self.draw.choice(
            ("110108", "310115", "440300", "330100")
        )
        body += "".join(self.draw.choices(letters, k=9))
        total = sum(letters.index(letter) * pow(3, place, 31) for place, letter in enumerate(body))
        whole = body + letters[-total % 31]
        spelled = self.draw.random()
        if spelled < 0.25:
            return whole.lower()
        if spelled < 0.5:
            return self.draw.choice(" -\xa0").join((whole[:2], whole[2:8], whole[8:17], whole[17]) if self._half else
                                               (whole[:4], whole[4:8], whole[8:12], whole[12:16],
                                                whole[16:]))  # fmt: skip
        return whole

    def passport(self) -> str:
        form = ("E{d8}", "G{d8}", "EJ{d7}", "{d9}", "X{d7}", "AB{d6}") if self._half else (
            "E{d8}", "EA{d7}", "C{d8}", "K{d7}A", "{d9}", "L{d8}")  # fmt: skip
        said = self.form(self.draw.choice(form))
        return self.draw.choice((said, said, said.lower()))

    # telephones

    def mobile(self) -> str:
        number = self.draw.choice(("138", "139", "159", "186", "177", "199", "166")) + self.digits(8)
        parts = (number[:3], number[3:7], number[7:])
        spelled = self.draw.choice((number, number, " ".join(parts), "-".join(parts), ".".join(parts),
                                    "\xa0".join(parts),
                                    "\u2011".join(parts), number.translate(_WIDE)))  # fmt: skip
        return self.draw.choice(("", "", "", "+86 ", "+86", "86-", "(+86)", "0086 ")) + spelled

    def landline(self) -> str:
        area = self.draw.choice(("010", "021", "0755", "0571", "020", "028"))
        number = self.draw.choice("2345678") + self.digits(7)
        return self.draw.choice((f"{area}-{number}", f"({area}){number}", f"（{area}）{number}",
                                 f"{area} {number[:4]} {number[4:]}",
                                 f"{area}\u2011{number}", f"+86-{area[1:]}-{number}", f"{area}.{number}"))  # fmt: skip

    def landext(self) -> str:
        extension = self.digits(self.draw.choice((3, 4)))
        ways = ("转{}", "转分机{}", " 转 {}", "-{}") if self._half else ("转{}", "分机{}", " ext. {}", "，转{}")
        return f"{self.landline()}{self.draw.choice(ways).format(extension)}"

    def phone(self) -> str:
        area, exchange, line = f"{self.draw.randint(201, 989)}", f"{self.draw.randint(200, 989)}", self.digits(4)
        return self.draw.choice((
            f"({area}) {exchange}-{line}", f"{area}-{exchange}-{line}", f"{area}.{exchange}.{line}",
            f"+1 {area} {exchange} {line}",
            f"+1-{area}-{exchange}-{line}", f"+1{area}{exchange}{line}", f"{area}\u2011{exchange}\u2011{line}",
            f"+44 20 7{self.digits(3)} {self.digits(4)}", f"+49 30 {self.digits(6)}",
            self.form("+33\xa06 {d2} {d2} {d2} {d2}"),
            f"+81-3-{self.digits(4)}-{self.digits(4)}", f"+61.4{self.digits(2)}.{self.digits(3)}.{self.digits(3)}",
        ))  # fmt: skip

    def phonex(self) -> str:
        number = f"{self.draw.randint(201, 989)}-{self.draw.randint(200, 989)}-{self.digits(4)}"
        ways = (" ext {}", " x{}", ", ext. {}") if self._half else ("x{}", " ext. {}", " extension {}")
        return number + self.draw.choice(ways).format(self.digits(3))

    def intl(self) -> str:
        return self.draw.choice((f"+852 {self.digits(4)} {self.digits(4)}", f"+65-{self.digits(8)}",
                                 f"+1（{self.draw.randint(201, 989)}）555-{self.digits(4)}",
                                 f"0044 7700 {self.digits(6)}",
                                 f"+886 2 {self.digits(4)} {self.digits(4)}"))  # fmt: skip

    # addresses of all sorts

    def email(self) -> str:
        name, host = self.draw.choice(_NAMES), self.draw.choice(_HOSTS)
        plain = self.draw.choice(
            (
                f"{name}{self.digits(2)}",
                f"{name}.{self.some('L', 5)}",
                f"{name}+{self.some('L', 4)}",
                f"{self.digits(9)}",
                f"{name}_{self.some('L', 3)}",
            )
        )
        odd = ("jörg", "zoë.b", "o'brien", "françois") if self._half else ("müller", "søren", "ana-maría", "d'arcy")
        return f"{self.draw.choice(odd) if self.draw.random() < 0.2 else plain}@{host}"

    def mailurl(self) -> str:
        return f"{self.draw.choice(_NAMES)}{self.digits(2)}%40{self.draw.choice(_HOSTS[:6])}"

    def ip(self) -> str:
        return (
            ".".join(str(self.draw.randint(34, 250)) for _ in range(4))
            if self.draw.random() < 0.7
            else f"10.{self.draw.randint(0, 255)}.{self.draw.randint(0, 255)}.{self.draw.randint(1, 254)}"
        )

    def ip6(self) -> str:
        return (
            self.draw.choice(("2001:db8", "2400:3200", "fe80"))
            + ":"
            + self.draw.choice(
                (
                    f":{self.some('h', 4)}",
                    f":{self.some('h', 3)}:{self.some('h', 4)}",
                    f"{self.some('h', 4)}:{self.some('h', 4)}::{self.some('h', 4)}",
                )
            ).replace(":::", "::")
        )

    def mac(self) -> str:
        pairs = [f"{self.draw.randint(0, 255):02x}" for _ in range(5)] + ["a7"]
        return self.draw.choice((":".join(pairs), "-".join(pairs).upper(), ":".join(pairs).upper()))

    def cisco(self) -> str:
        return self.form(f"{{h4}}.{self.draw.choice('abcdef')}{{h2}}{{d1}}.{{h3}}{self.draw.choice('abc')}")

    def plate(self) -> str:
        head = self.draw.choice("京沪粤浙苏川鲁") + self.draw.choice("ABCDE")
        tail = self.digits(4) + self.draw.choice("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789")
        return head + self.draw.choice(("", "·", " ", "-", "•")) + tail

    def green(self) -> str:
        head = self.draw.choice("京沪粤浙苏川鲁") + self.draw.choice("ABCDE")
        small = f"{self.draw.choice('DF')}{self.draw.choice('ABCDEFGHJ0123456789')}{self.digits(4)}"
        tail = self.draw.choice((small, small, self.digits(5) + self.draw.choice("DF")))
        said = head + self.draw.choice(("", "·", " ", "・", "-") if self._half else ("", "·", " ", "‧", "．")) + tail
        return said.lower() if self.draw.random() < 0.15 else said

    # secrets of a context

    def basic(self) -> str:
        return base64.b64encode(f"{self.draw.choice(_NAMES)}:{self.some('a', 10)}".encode()).decode()

    def opaque(self) -> str:
        return self.some("a", self.draw.choice((24, 32, 43)))

    def password(self) -> str:
        return self.draw.choice(("Tr0ub4dor", "hunter2", "S3cr3t!", "P@ssw0rd", "xK9mQ2", "qwe123")) + self.some(
            "a", self.draw.randint(0, 5)
        )

    def host(self) -> str:
        return "https://api.example.net/v1/items"

    def azure(self) -> str:
        return self.some("b", 86) + "=="

    def shared(self) -> str:
        return self.some("b", 43) + "="

    def sig(self) -> str:
        return (self.some("b", 43) + "=").replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")

    def hex32(self) -> str:
        return self.some("h", 32)

    def hex64(self) -> str:
        return self.some("h", 64)

    def low26(self) -> str:
        return self.some("l", 26)

    def up8(self) -> str:
        return self.some("U", 8)

    def tail24(self) -> str:
        return self.some("a", 24)

    def jwt(self) -> str:
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        body = (
            base64.urlsafe_b64encode(f'{{"sub":"{self.digits(8)}","n":"{self.some("a", 12)}"}}'.encode())
            .decode()
            .rstrip("=")
        )
        return f"{head}.{body}.{self.some('w', 43)}"

    def pem(self) -> str:
        kind = self.draw.choice(("RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"))
        lines = "\n".join(self.some("b", 64) for _ in range(4))
        return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----"


_NAMES = ("anna", "bob", "chen", "liu.wei", "maria", "k.ito", "paul", "zhang", "sales", "hr-team")
_HOSTS = ("example.com", "mail.example.org", "firma.de", "corp.example.co.uk", "qq.com", "163.com", "bücher.example",
          "xn--bcher-kva.example", "startup.io", "univ.edu.cn")  # fmt: skip
_WIDE = {code: code + 0xFEE0 for code in range(0x30, 0x3A)}
KIND = {
    "MOBILE": "PHONE", "LANDLINE": "PHONE", "LANDEXT": "PHONE", "PHONEX": "PHONE", "INTL": "PHONE", "SSN2": "SSN",
    "CNID15": "CNID", "GREEN": "PLATE", "IP6": "IP", "CISCO": "MAC", "MAILURL": "EMAIL",
} | dict.fromkeys(("BASIC", "OPAQUE", "PASSWORD", "AZURE", "SHARED", "SIG", "HEX32", "HEX64", "LOW26", "TAIL24",
                   "JWT", "PEM"), "KEY")  # fmt: skip
_NONE = frozenset({"HOST", "UP8"})


def _luhn(body: str) -> str:
    doubled = (sum(divmod(int(d) * (2 if place % 2 == 0 else 1), 10)) for place, d in enumerate(reversed(body)))
    return str(-sum(doubled) % 10)


def _filled(template: str, values: Values, language: str) -> Sample:
    text, found = "", []
    for said, kind in re.findall(r"((?:[^{}]|\{\{|\}\})*)(?:\{([A-Z0-9]+)\})?", template):
        text += said.replace("{{", "{").replace("}}", "}")
        if kind:
            value = values.of(kind)
            if kind not in _NONE:
                found.append(Value(len(text), len(text) + len(value), KIND.get(kind, kind)))
            text += value
    return Sample(text, tuple(found), language)


AROUND = (
    "{}", "please rotate {} today", "export K={}", "我们用的是{}，别发出去", '{{"value": "{}"}}',
    "`{}` leaked in the build log",
    "新的凭证：{}", "- {}\n- and nothing else", "2026-11-30T10:00:00Z WARN rejected {} (expired)",
    "client = Client(\"{}\")",
)  # fmt: skip


def _around(template: str, value: str) -> Sample:
    before, after = (
        part.replace("{{", "{").replace("}}", "}") for part in re.split(r"(?<!\{)\{\}(?!\})", template, maxsplit=1)
    )
    language = "en" if template.isascii() else "zh"
    return Sample(before + value + after, (Value(len(before), len(before) + len(value), "KEY"),), language)


def samples(half: int, seed: int = SEED, rounds: int = 4) -> list[Sample]:
    """The texts with values of a half: 0 is `dev`, 1 is `held`. Each context that is its own comes `rounds` times."""
    values = Values(seed + half, half)
    made = [_around(values.draw.choice(AROUND[half::2]), values.form(form)) for form in TOKENS[half::2]]
    for _ in range(rounds):
        made += [_around(cue, values.form(values.draw.choice(BARE[half::2]))) for cue in CUED[half::2]]
        made += [_filled(each, values, "en" if each.isascii() else "zh") for each in HEADERS[half::2]]
        made += [_filled(each, values, "en") for each in ENGLISH[half::2]]
        made += [_filled(each, values, "zh") for each in CHINESE[half::2]]
    return made


# -- what tempts and is nothing

TEMPTING = (
    "git clone git@github.com:acme/shop.git", "scp dump.sql deploy@build.example.net:/srv/{d4}/",
    "<img srcset=\"user@2x.png 2x, user@3x.png 3x\" alt='{d3}'>", "icon-mail@2x.webp is too large",
    "see section {n1-9}.{n1-9}.{n1-9}.{n1-9}", "见第{n1-9}.{n1-9}.{n1-9}.{n1-9}节",
    "qty {n100-900} {n10-99} {n1000-9999}", "dimensions {n200-900} {n200-900} {n1000-9999} mm",
    "order {d3}-{d2}-{d4} was returned", "part number {n200-900}-{n200-900}-{d4}",
    "commit {h40}", "git checkout {h12} && make", "image sha256:{h64}",
    "\"integrity\": \"sha512-{b86}==\"", "ETag: W/\"{h32}\"", "md5sum {h32}  dump.tar.gz",
    "request id {u}", "trace_id={h32} span_id={h16}", "\"id\": \"{u}\"",
    "\"id\": \"chatcmpl-{a29}\"", "tool call call_{a24} returned 3 rows", "toolu_01{a22}",
    "x-request-id: req_{a24}", "instance i-{h17} in vpc-{h17}", "pod shop-{l10}-{l5} restarted",
    "assets/index-{a8}.js", "main.{h20}.css loaded", "cus_{a14} paid invoice in_{a24}",
    "ISBN 978-{d1}-{d4}-{d4}-{d1}", "ISBN-13: 978{d10}", "书号978{d10}",
    "EAN 400{d10}", "tracking 1Z{U16}", "快递单号SF{d13}", "运单号：{d12}",
    "订单号：2026{d14}", "订单编号 {d16}", "流水号{d20}", "invoice #{d10}",
    "order no. {d9}", "ticket {d8} was closed", "发票号码{d8}，发票代码{d12}",
    "ts={n1000000000-2000000000}", "\"created\": {n1600000000000-1800000000000}", "2026-11-30T10:15:30.123456+08:00",
    "耗时{n1000-9999}毫秒，共{d9}行", "lat {n0-89}.{d6}, lon -{n0-179}.{d6}",
    "坐标{n20-50}.{d5},{n80-130}.{d5}", "({n0-89}.{d4}, {n0-179}.{d4})",
    "Chrome/{n90-130}.0.{n1000-6999}.{n10-250} Safari/537.36", "nginx/1.{n10-30}.{n0-9}.{n0-9}",
    "version {n1-20}.{n0-20}.{n0-250}.{n0-99}", "升级到{n1-9}.{n0-9}.{n0-9}.{n0-9}版本",
    "requires libfoo>={n1-9}.{n0-9}.{n0-9}.{n0-9}", "firmware {n1-9}.{n0-9}.{n10-99}.{n0-9}",
    "OID 1.3.6.1.4.1.{d4}.1", "lodash@4.17.21 and react@18.2.0", "@types/node@20.11.5 is out",
    "uses: actions/checkout@v4", "@property.setter and @app.route are decorators", "follow @acme.news on the site",
    "nginx@sha256 pinned", "max_tokens={d4}, top_p=0.9", "the token is missing and the password is required",
    "password: ********", "password = os.environ['DB_PASSWORD']", "api_key: ${API_KEY}", "token: <your token here>",
    "next_page_token={a24}", "primary key {d8}", "cache_key=user:{d6}:profile",
    "the key to the problem is in section 12", "foreign_key: order_{d9}", "tokenizer=cl100k_base",
    "\"prompt_tokens\": {d5}", "密码错误三次后锁定", "请输入密码和验证码", "验证码{d6}，五分钟内有效", "令牌桶算法限流",
    "密钥管理见附录三", "会议号 {d3} {d3} {d3}", "QQ群{d9}", "邮编{d6}", "股票代码{d6}", "工号{d8}",
    "合同编号HT-{d4}-{d4}", "GB/T {d5}-{d4}", "￥{n10-99},{d3},{d3}.00", "total {n1-9},{d3},{d3} EUR",
    "增长{d2}.{d2}%，共{d8}件", "page {d3} of {d3}, table {d1}", "call for papers, deadline 2026-{n10-12}-{n10-28}",
    "电话会议改到三点", "A股上涨，京东发布财报", "苏A区{d3}号楼", "0x{h8} and 0x{h16}", "color #{h6}; width {d4}px",
    "std::vector<int> a[::2]; ns::f({d3})", "{n10-23}:{n10-59}:{n10-59}:{n10-24} timecode",
    "CAS {n50-99999}-{d2}-{d1}", "RFC {d4} section 4.{d1}", "SKU {U3}-{d5}-{U2}", "LOT{d8} exp 2027-01", "IMEI {d15}",
    "https://docs.example.com/d/1{w43}/edit", "https://youtu.be/{w11}", "data:image/png;base64,iVBORw0KGgo{b60}",
    "ipfs://Qm{a44}", "dependabot/npm_and_yarn/lodash-4.17.{d2}", "backup-2026-11-30-{d2}-{d2}.tar.gz",
    "test_user_authentication_flow_{d3}", "MAX_CONNECTIONS_PER_HOST_V2=20", "HTTPServerRequestHandlerFactory2 failed",
    "feature/JIRA-{d5}-login-page", "session started at {d10}", "the author of the design signed it",
    "Signature valid until 2027-{n10-12}-11", "cookie banner shown to 1200 visitors", "basic training starts on Monday",
    "Basic authentication is off", "passport control is on level 2", "护照办理需要两周", "flight CA{d4}, gate {d2}",
    "会议室{d3}，座位{d2}A", "phone model X{d3} has {d4} mAh", "手机内存{d3}GB，电池{d4}毫安",
    "GPU 0: {d5} MiB / {d5} MiB",
    "rows {d3} {d4} {d2} {d3}", "{d3} {d3} {d3} {d3}", "0.{d9} 0.{d9}", "pi is 3.14159265358979{d3}",
    "aaaa.bbbb.cccc is no address", "dead-beef-cafe", "fingerprint {h2}:{h2}:{h2}:{h2}:{h2}:{h2}:{h2}:{h2}:{h2}:{h2}",
    "block {d7} hash {h64}", "checkpoint-{d5}/optimizer.pt",
)  # fmt: skip


def tempting(half: int, count: int, seed: int = SEED) -> list[Sample]:
    """Texts without a value, of the kinds of a half, each as often as another."""
    values = Values(seed + 10 + half, half)
    kinds = TEMPTING[half::2]
    texts = (values.form(kinds[number % len(kinds)]) for number in range(count))
    return [Sample(text, (), "en" if text.isascii() else "zh") for text in texts]


@dataclass(frozen=True, slots=True)
class Score:
    """By kind the values found whole and all; the spans that are right and all; clean texts with one; what is wrong."""

    by_kind: dict[str, tuple[int, int]]
    right: int
    spans: int
    alarms: int
    wrong: list[str]


def score(
    found: Callable[[str], Sequence[tuple[int, int, str]]], texts: Sequence[Sample], clean: Sequence[Sample]
) -> Score:  # fmt: skip
    """How what was found in each text (start, end, kind) agrees with what is in it. Names and births do not count."""
    by_kind: dict[str, list[int]] = {}
    right = spans = alarms = 0
    wrong: list[str] = []
    for sample in (*texts, *clean):
        here = [each for each in found(sample.text) if each[2] not in ("NAME", "BIRTH")]
        for value in sample.values:
            whole = any(s <= value.start and e >= value.end and kind == value.kind for s, e, kind in here)
            counts = by_kind.setdefault(value.kind, [0, 0])
            counts[0] += whole
            counts[1] += 1
            if not whole:
                wrong.append(f"missed {value.kind} {sample.text[value.start : value.end]!r} in {sample.text[:160]!r}")
        for start, end, kind in here:
            hit = any(v.start < end and v.end > start and v.kind == kind for v in sample.values)
            spans, right = spans + 1, right + hit
            if not hit:
                wrong.append(f"wrong {kind} {sample.text[start:end]!r} in {sample.text[:160]!r}")
        alarms += bool(here) and not sample.values
    return Score({kind: (whole, of) for kind, (whole, of) in sorted(by_kind.items())}, right, spans, alarms, wrong)
