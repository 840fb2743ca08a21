"""How the names of hosts end, and how those of files do: which `a.b` in a text leads somewhere.

Endings are those under which anybody may have a name: brands' own are not here. A name under an ending that is not here
still counts where something says that it is a host's: a scheme, `www.`, a path.
"""

from __future__ import annotations

_COUNTRIES = """
ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz ca cc cd
cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gb gd ge
gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki
km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my
mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se
sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz
va vc ve vg vi vn vu wf ws ye yt za zm zw
"""
_GENERIC = """
academy accountant accountants actor adult agency airforce apartments app archi army art asia associates attorney
auction audio auto autos baby band bar bargains baseball basketball bayern beauty beer berlin best bet bible bid
bike bingo bio biz black blackfriday blog blue boats bond boo book boston bot boutique box broadway broker brussels
build builders business buy buzz bzh cab cafe cam camera camp capetown capital car cards care career careers cars
casa case cash casino cat catering catholic center ceo cfd channel charity chat cheap christmas church city claims
cleaning click clinic clothing cloud club coach codes coffee college cologne com community company compare computer
condos construction consulting contact contractors cooking cool coop corsica country coupon coupons courses credit
creditcard cricket cruise cruises cymru dad dance date dating day deal dealer deals degree delivery democrat dental
dentist desi design dev diamonds diet digital direct directory discount diy doctor dog domains download dubai durban
earth eat eco edu education email energy engineer engineering enterprises equipment esq estate eus events exchange
expert exposed express fail faith family fan fans farm fashion feedback film finance financial fish fishing fit
fitness flights florist flowers fly foo food football forex forsale forum foundation free fun fund furniture futbol
fyi gal gallery game games garden gay gent gift gifts gives giving glass global gmbh gold golf gop gov graphics
gratis green gripe group guide guitars guru hair hamburg haus health healthcare help helsinki hiphop hiv hockey
holdings holiday homes horse hospital host hosting hot hotels house how icu immo immobilien inc industries info ing
ink institute insurance insure int international investments irish islam ist istanbul jetzt jewelry jobs joburg
juegos kaufen kids kim kitchen kiwi koeln kosher krd kyoto land lat latino law lawyer lease legal lgbt life
lifestyle lighting limited limo link live living llc llp loan loans locker lol london lotto love ltd ltda luxe
luxury madrid maison makeup management mango map market marketing markets mba med media meet melbourne meme memorial
men menu miami mil mobi moda moe mom monash money monster mortgage moscow moto motorcycles mov movie museum music
nagoya name navy net network new news nexus ngo ninja nowruz nrw nyc observer okinawa one ong onl online ooo organic
org origins osaka page paris pars partners parts party pay pet phd photo photography photos physio pics pictures pid
pink pizza place plumbing plus poker porn post press prime pro prod productions prof promo properties property
protection pub qpon quebec quest racing radio read realestate realtor realty recipes red rehab reise reisen ren rent
rentals repair report republican rest restaurant review reviews rich rio rip rocks rodeo room rsvp rugby ruhr run
saarland safe sale salon save sbs scholarships school schule science scot search secure security select services sex
sexy shiksha shoes shop shopping show singles site ski skin soccer social software solar solutions soy spa space
sport spot srl storage store stream studio study style sucks supplies supply support surf surgery swiss sydney
systems taipei talk tatar tattoo tax taxi team tech technology tel tennis theater theatre tickets tienda tips tires
tirol today tokyo tools top tours town toys trade trading training travel trust tube university uno vacations vegas
ventures versicherung vet viajes video villas vin vip vision vlaanderen vodka vote voting voto voyage wales wang
watch watches webcam website wed wedding weibo whoswho wien wiki win wine work works world wow wtf xxx xyz yachts
yoga yokohama you zip zone zuerich aero arpa
"""
_OWN = "example test invalid localhost local internal lan home corp intranet onion eth bit i2p alt"
_SCRIPTS = """
рф рус бел укр мкд срб қаз мон ею бг ком орг онлайн сайт дети москва католик ελ ευ გე հայ ישראל קום 中国 中國 香港
台湾 台灣 新加坡 澳門 公司 网络 網絡 网址 网站 網站 在线 中文网 商城 公益 集团 我爱你 世界 时尚 游戏 娱乐 商店 购物
佛山 广东 手机 机构 组织机构 移动 信息 企业 健康 餐厅 招聘 慈善 政府 政务 八卦 网店 みんな コム ストア セール
ファッション クラウド ポイント 한국 삼성 닷컴 닷넷 भारत भारतम् भारोत संगठन कॉम नेट ভারত ভাৰত বাংলা ਭਾਰਤ ભારત ଭାରତ
இந்தியா இலங்கை சிங்கப்பூர் భారత్ ಭಾರತ ഭാരതം ලංකා ไทย คอม ລາວ بھارت بازار شبكة كوم موقع همراه مصر السعودية امارات
ایران سورية سوريا تونس المغرب الجزائر عمان قطر فلسطين الاردن العراق عراق موريتانيا ليبيا سودان پاكستان پاکستان ڀارت
مليسيا عرب كاثوليك
"""

_FILES = """
txt text rst tex log out lock csv tsv json jsonl yaml yml toml ini cfg conf env xml xsl xsd svg html htm xhtml css
scss less js jsx mjs ts tsx vue java kt scala go cpp cxx hpp hxx cs vb php rb lua jl hs erl ex exs clj swift asm sql
db sqlite ipynb doc docx docm dot dotx odt rtf pdf xls xlsx xlsm ods ppt pptx odp key numbers pages epub mobi azw
png jpg jpeg gif bmp tif tiff webp ico psd eps heic mp3 mp4 m4a wav flac ogg avi mkv webm wmv srt vtt tar gz tgz bz2
xz rar 7z iso dmg exe msi dll bin deb rpm apk jar war class pyc whl egg bat cmd ps1 bak tmp old orig swp diff patch
eml msg ics vcf pem crt cer csr p12 gguf onnx npz npy pkl parquet proto tpl jinja j2 dat
"""
_FILES_TOO = "md py sh rs pl pm ps so cc la mk ml st tf zip mov pub in am bz lc"

FILES = frozenset(_FILES.split())
"""Endings of files' names under which no host has a name."""

FILES_AND_ENDINGS = frozenset(_FILES_TOO.split())
"""Endings that are both: `README.md`, `main.py` are files where nothing says that they are hosts."""

ENDINGS = frozenset(f"{_COUNTRIES} {_GENERIC} {_OWN} {_SCRIPTS}".split())
"""Endings of hosts' names: https://data.iana.org/TLD/ lists all, with the brands'."""
