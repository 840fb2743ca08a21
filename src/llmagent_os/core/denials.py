"""What a text forbids: `never send to x@y` names x@y, and permits nothing.

A text is read once, clause by clause, for words that deny, turn about or take back, in English and Chinese (and the
commonest of a few more languages). A doubt counts as a denial: a person is asked then, and nothing is done wrongly.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

_PRONOUN = r"(?:i|you|we|he|she|they|it|there|this|that|one)"
_NOT = r"(?:never|not|cannot|\w{2,6}n['’]t|n['’]t)"
_THEM = r"(?=\S{1,80}@)"  # only where an address follows: much else is skipped and ignored
_EVIL = (
    r"(?:an?\s+)?(?:\w+\s+)?(?:scam\w*|phish\w*|spam\w*|fraud\w*|fake|malicious|compromised|suspicious|dangerous|hacked"
    r"|unsafe|untrust\w*|unauthori[sz]ed|against\s+(?:the\s+|our\s+)?(?:polic\w+|rules?))"
)
_LIST = (
    r"(?:(?:list\s+of\s+)?(?:recipients?|invitees|attendees|participants)|b?cc"
    r"|(?:recipients?|mail(?:ing)?|distribution|invit\w+|guest|contact|send)[ -]list)\b"
)
_ADDRESS = r"[A-Za-z0-9.!\#$%&'*+/=?^_{|}~-]{1,64}@"
_AUX = r"(?:(?:do|does|did|should|must|can|could|will|would|may)\s+)?"
_ABBREVIATED = r"(?<!\b[a-z])(?<!\bmr)(?<!\bms)(?<!\bmrs)(?<!\bdr)(?<!\bst)(?<!\bvs)(?<!\betc)"

_CUES = re.compile(
    rf"""
    (?P<item>\n[ \t\n]{{0,40}}(?:[-*•–]|\d{{1,3}}[.)])[ \t])
  | (?P<paragraph>\n[ \t]{{0,40}}\n)
  | (?P<line>(?<![,，、:：])(?<!\bto)(?<!\bor)(?<!\band)(?<!\bthe)(?<!\bof)(?<!\bfor)(?<!\bwith)(?<!\bfrom)
      \n(?=[ \t]{{0,40}}(?-i:[A-Z][a-z])))
  | (?P<end>{_ABBREVIATED}[.!?](?!\s{{1,3}}(?:never|no(?:pe|\s+way)?)[.!])(?=["'”’)\]*_]{{0,4}}(?:\s|\Z))|[;。！？；])
  | (?P<neutral>\b{_AUX}{_NOT}\s+(?:forget|hesitate|fail|miss|neglect|worry)
      |\b{_AUX}not\s+(?:only|just|later|more|less|yet|sure|to\s+mention)\b
      |\b(?:if|whether\s+or|or|why)\s+not\b|\bwhy\s+don['’]t\b
      |\b{_AUX}{_NOT}\s+(?:\w+\s+){{0,3}}(?:more|less|fewer|later|earlier|longer)\s+than\b
      |\b(?:if|when|whenever|in\s+case|because|since|as|although|though|until)\s+{_PRONOUN}
        \s+(?:\w+(?:n['’]t)|\w+\s+(?:not|never))\b
      |\b(?:if|when|in\s+case|unless)\s+(?:[^\s,;.!?]+\s+){{1,8}}?(?:is|are|was|were|has|have|had)(?:n['’]t\b|\s+not\b)
      |\bi\s+(?:haven['’]t|have\s+not|hadn['’]t|had\s+not|didn['’]t|did\s+not)\b
      |\bi\s+(?:don['’]t|do\s+not|can['’]t|cannot)\s+(?:know|have|remember|recall|find|understand|see)\b
      |(?P<same>[\u4e00-\u9fff])不(?P=same)|不(?:但|仅|僅|得不)|不要忘|别忘|別忘
      |不(?:可|能|得|要|应|應)(?:超|多于|少于|晚于|高于|大于))
  | (?P<subject>\b(?:if|when|because|that|who|which|while|since|as|until|so|then|he|she|they|it|this|there|you|we|i
      |him|her|them|whom)\b|[，,](?=[^,，\n]{{0,60}}\b(?:mail|send|pay|write|ask|tell|use|give)\b))
  | (?P<removed>\b(?:remove|strike|delete|take|drop|cross|cut|kick|get|keep)\s+(?:
        [^\n;!?]{{1,80}}?\s(?:from|off|out\s+of)\s+(?:the\s+|my\s+|our\s+|your\s+|any\s+)?{_LIST}
        |[^\s;!?]{{1,64}}@\S{{1,80}}\s(?:off|out|from\s+(?:the|my|our|your)\s+list)\b)
      |~~[^~\n]{{1,80}}~~
      |(?:从|從)(?:收件人|抄送|名单|名單|列表)(?:里|裡|中|名单|列表)?(?:去掉|去除|删掉|删除|刪除|移除|剔除|划掉)[^，,。；;！!\n]{{1,80}}
      |[把将將][^，,。；;！!\n]{{1,80}}?(?:从|從)[^，,。；;！!\n]{{0,12}}(?:收件人|抄送|名单|名單|列表)[^，,。；;！!\n]{{0,4}}[去删刪移剔划踢]
      |[把将將]{_ADDRESS}[\w.-]{{1,80}}?(?:[去删刪移剔踢][掉除出])
      |{_ADDRESS}[\w.-]{{1,80}}?(?:除名|剔除))
  | (?P<refused>[-–—:=(>→?,]\s{{0,3}}(?:please\s+|absolutely\s+)?(?:no|nope|no\s+way|not|don['’]t|do\s+not)
        (?=\s{{0,2}}(?:[.!);\n]|\Z))
      |[-–—:=>→]\s{{0,3}}no(?:pe)?(?=,)
      |\b(?:is|was|has|are|were|have)\s+(?:been\s+|now\s+)?(?:removed|unwelcome|invalid|obsolete|retired|no\s+good|no\s+more)\b
      |\b(?:opted\s+out|unsubscribed)\b
      |(?:(?<=[A-Za-z0-9])[\s：:，,（(]{{0,3}}(?:否|不[要用发發]?|别|別|勿|免|非)|[：:，,（(就]\s?(?:不要|不用|不发|不必|别|別|免)了?)
        (?=[。！!，,；;）)\n]|\s*\Z)
      |(?:不在|不是|非)(?:收件人|名单|名單|抄送|列表))
  | (?P<all_but>\b(?:all|every(?:one|body|thing)|any(?:one|body|thing))[ -](?:but|save|bar|besides)\b)
  | (?P<except>\b(?:except(?:ing)?|other\s+than|apart\s+from|aside\s+from|unless)\b
      |(?<![删刪清扣移解排消免])除(?!外)(?:了|非|开|開)?)
  | (?P<besides>以外|之外|外[，,])
  | (?P<described>\b(?:is|are|was|were|has|have|had|does|did)(?:n['’]t|\s+(?:\w+ly\s+)?(?:not|never|no\s+longer))\b
      (?!\s+(?:allowed|permitted|to|be)\b))
  | (?P<predicate>\b(?:is|are|was|were|must|should|may|can|shall|will|has|have|do|does|did)
      (?:n['’]t\b|\s+(?:\w+ly\s+|also\s+){{0,1}}(?:not|never|no\s+longer|forbidden|prohibited|banned|blocked|disallowed
        |excluded|black-?listed|off[- ]limits|out\s+of\s+bounds|{_EVIL})\b)
      |\b(?:never|no\s+way)(?=[.!]|\s*\Z)|\s[-–—]\s?no(?=[.!]|\Z)|[✗✘❌🚫⛔]|(?<=\w)拉黑|就?算了|是(?:骗子|诈骗|钓鱼|垃圾|假的)
      |\bcan(?:not|['’]t)\b|\bexcluded\b|\bexcepted\b|除外
      |[:(]\s{{0,3}}(?:never|forbidden|prohibited|blocked|banned|not\s+allowed|off[- ]limits)\b
      |(?:是|已|在|为|為)?被?(?:禁止|封禁|黑名单|黑名單)
      |(?:已被?|被)封|不行(?=[。！!]|\Z)|不(?:得|能|可|应|應|许|許|准)(?:以|该|該)?)
  | (?P<negation>\b(?:{_NOT}|neither|nor|nobody|no[ -]?one|none|without|avoid\w*|forb(?:id|ad)\w*|prohibit\w*|banned
      |blocked|(?:block|black|deny)[- ]?list\w*|disallow\w*|refrain\w*|reject\w*|disregard\w*|omit\w*|minus|unsubscribe
      |nothing(?!\s+(?:but|else|more))|hands\s+off|(?:stay|keep|steer)\s+(?:away|clear)\s+(?:from|of)
      |(?:phishing|scam|fraud|spam|warning)\s?:|refus(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|off[- ]limits
      |stop\s+(?:\w+ing|all|any|payments?|(?:e-?)?mails?|messages?)|instead\s+of|rather\s+than
      |under\s+no\s+circumstances?|(?:in|on|by)\s+no\s+(?:case|account|means)|beware|dont|cant|wont|mustnt
      |no\s+(?:(?:e-?)?mails?|messages?|payments?|transfers?|money|files?|data|access|contact|links?|requests?|calls?
        |posts?)
      |(?:skip|ignore|leave\s+out|block|ban|drop|mute)\s+(?:\w+\s+){{0,2}}{_THEM}
      |(?:keep|leave|cut)\s+(?=\S{{1,80}}@\S{{1,80}}\s+(?:out|alone|away)\b)
      |(?:keep|hide)\s+(?:it|this|that|these|them|everything)\s+(?:\w+\s+){{0,2}}from
      |no\s+(?:to\s+)?{_THEM}
      |(?:remove|delete|strike)\s+(?:the\s+)?(?:recipient|invitee|participant)s?\s+{_THEM}
      |ne\s+pas|no\s+(?:env[ií]\w+|mand\w+|pag\w+)
      |nicht|niemals|kein(?:e[nrms]?)?|jamais|nunca|jamás|никогда|нельзя)\b
      |不(?:要|给|給|发|發|付|转|轉|汇|匯|把|将|將|再|向|往|让|讓|允许|允許|是|用|必|想|希望|愿|宜)|[无無](?:需|须|須)|没必要|沒必要|排除|回避|停止(?=[向给給发發联聯付转轉])|取消(?=[向给給发發抄])
      |(?:忽略|跳过|跳過|删掉|去掉|移除|去除|剔除|撤掉)(?:收件人|抄送)?(?={_ADDRESS})
      |非\s?(?={_ADDRESS})
      |[别別](?![人的名处墅说])|[勿莫]|严禁|嚴禁|屏蔽|拉黑|拒收|拒绝|拒絕|避免|未经|未經)
  | (?P<reset>\b(?:but|only|instead|however|otherwise|rather)\b
      |,\s*so\b|[✓✔✅]|但|而是
      |只(?:能|可|要|给|給|发|發|付|准)|仅(?:限|能|可)?|改(?:为|為|成|发|發|付|给|給|用)|[，,]请(?![勿不别別]))
  | (?P<comma>[,，])
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DENIES = re.compile(
    r"n['’]?t\b|no(?:[tr\s-]|p?e?\b)|never|nobody|noone|none|neither|without|avoid|forb|prohib|banned|block|list|refus|exclud|excep"
    r"|off[- ]|stop|instead|rather|other\s+than|apart|aside|unless|but|beware|nicht|niemals|kein|jamais|nunca|jamás"
    r"|никогда|нельзя|skip|ignore|leave|keep|hide|ne\s|refrain|reject|disregard|omit|minus|unsubscribe|nothing|hands|away"
    r"|clear|scam|phish|spam|fraud|fake|malicious|compromised|suspicious|dangerous|hacked|unsafe|un(?:trust|author)|against"
    r"|warning|drop|mute|cut\s|remove|strike|delete|take|cross|kick|get\s|\bban\b|save|besides|~~|[✗✘❌🚫⛔]"
    r"|un(?:welcome|subscribe)|invalid|obsolete|retired|opted|算了|骗子|诈骗|钓鱼|垃圾|假的|[不别別勿莫禁严嚴拒避未除黑封屏拉无無没沒排回停取忽跳删刪去移剔划踢除撤非免否]",
)  # in small letters; most texts deny nothing
_FAR = 300  # characters before a predicate, in which its subject is looked for
_HEADING = re.compile(r"[:：]\s*$|(?:^|\n)\s*#[^\n]*\s*$")
_LINE = 200  # characters of a line that is read as a heading


class Denials:
    """Where a text denies what it names."""

    __slots__ = ("_begun", "_denied", "_ends", "_heading", "_starts", "_subject", "_weak")

    def __init__(self, text: str) -> None:
        """Read a text, in a time that grows with its length."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._denied = self._heading = self._weak = False  # weak: it describes, and a comma ends that
        self._begun = self._subject = 0  # where the denial began, and what it may be said of
        for cue in _CUES.finditer(text) if _DENIES.search(text.casefold()) else ():
            was = self._denied
            _TAKEN[cue.lastgroup or ""](self, cue)
            if self._denied != was:
                if was:
                    self._deny(self._begun, cue.start())
                self._begun = cue.end()
        if self._denied:
            self._deny(self._begun, len(text))

    def at(self, place: int) -> bool:
        """Whether what stands at a place is denied."""
        found = bisect_right(self._starts, place) - 1
        return found >= 0 and place < self._ends[found]

    def _deny(self, start: int, end: int) -> None:
        """Take in a stretch, in the order of the text; one that began before others are over joins them."""
        if start >= end:
            return
        while self._starts and self._starts[-1] >= start:
            self._starts.pop()
            end = max(end, self._ends.pop())
        if self._starts and self._ends[-1] >= start:
            self._ends[-1] = max(self._ends[-1], end)
        else:
            self._starts.append(start)
            self._ends.append(end)

    # -- what becomes of it at each kind of cue

    def _neutral(self, cue: re.Match[str]) -> None:
        """Words that look like a denial, and deny nothing."""

    def _end(self, cue: re.Match[str]) -> None:
        self._denied, self._subject = False, cue.end()

    def _paragraph(self, cue: re.Match[str]) -> None:
        self._denied = self._heading = False
        self._subject = cue.end()

    def _item(self, cue: re.Match[str]) -> None:
        """A list's item is denied by what stands above the list."""
        if _HEADING.search(cue.string, max(cue.start() - _LINE, 0), cue.start()):
            self._heading = self._denied
        self._denied, self._subject = self._heading, cue.end()

    def _negation(self, cue: re.Match[str]) -> None:
        self._denied, self._weak = True, False

    def _predicate(self, cue: re.Match[str]) -> None:
        """What is denied of something that stands before it: `x@y must not be used`."""
        self._deny(max(self._subject, cue.start() - _FAR), cue.start())
        self._denied, self._weak = True, False

    def _removed(self, cue: re.Match[str]) -> None:
        """What is denied within the words themselves: `take x@y off the list`."""
        self._deny(cue.start(), cue.end())

    def _refused(self, cue: re.Match[str]) -> None:
        """What is denied of something before it, and of nothing after it: `x@y - no!`."""
        self._deny(max(self._subject, cue.start() - _FAR), cue.start())
        self._subject = cue.end()

    def _described(self, cue: re.Match[str]) -> None:
        weak = self._weak or not self._denied
        self._predicate(cue)
        self._weak = weak

    def _except(self, cue: re.Match[str]) -> None:
        self._denied, self._weak = not self._denied, False

    def _besides(self, cue: re.Match[str]) -> None:
        self._denied = False

    def _reset(self, cue: re.Match[str]) -> None:
        self._denied, self._subject = False, cue.end()

    def _of(self, cue: re.Match[str]) -> None:
        """A new subject, or a comma."""
        if self._weak and cue[0] in ",，":
            self._denied = False
        if cue[0] != "," or cue.lastgroup == "subject":
            self._subject = cue.end()


_TAKEN: dict[str, Callable[[Denials, re.Match[str]], None]] = {
    "item": Denials._item, "paragraph": Denials._paragraph, "line": Denials._end, "end": Denials._end,
    "neutral": Denials._neutral, "subject": Denials._of, "comma": Denials._of, "all_but": Denials._negation,
    "removed": Denials._removed, "refused": Denials._refused,
    "except": Denials._except, "besides": Denials._besides, "described": Denials._described,
    "predicate": Denials._predicate, "negation": Denials._negation, "reset": Denials._reset,
}  # fmt: skip
