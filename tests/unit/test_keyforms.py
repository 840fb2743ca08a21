"""Keys by their form, and by what stands before them; and what is drawn at random but opens nothing."""

from __future__ import annotations

import base64
import random
import string

import pytest

from llmagent_os.security.keyforms import drawn
from llmagent_os.security.recognisers import recognise

LETTERS = {"a": string.ascii_letters + string.digits, "h": "0123456789abcdef", "U": string.ascii_uppercase + "234567"}


def letters(which: str, count: int, seed: int = 7) -> str:
    """Letters drawn at random, the same each time."""
    return "".join(random.Random(seed).choices(LETTERS[which], k=count))


def found(text: str) -> list[tuple[str, str]]:
    """The values in a text, with their kinds."""
    return [(span.kind, text[span.start : span.end]) for span in recognise(text)]


PREFIXED = [
    f"{prefix}{letters(which, count)}"
    for prefix, which, count in (
        ("acme_live_", "a", 32), ("acme-pat-", "h", 40), ("zz9_", "a", 24), ("ACME_", "U", 40), ("shpat_", "h", 32),
        ("hvs.", "a", 90), ("dapi", "h", 32), ("SG.", "a", 22), ("key-", "h", 32), ("glrt-", "a", 20),
    )
]  # fmt: skip
PREFIXED[7] += "." + letters("a", 43, 8)


@pytest.mark.parametrize("key", PREFIXED)
def test_a_key_is_one_by_its_prefix_its_separator_and_its_random_part(key: str) -> None:
    for text in (key, f"use {key} now", f"我们用{key}，", f'{{"v": "{key}"}}', f"a\\n{key}\\nb", f"K={key};"):
        assert found(text) == [("KEY", key)]


S = string.ascii_letters + string.digits + "./"


def salted(count: int, seed: int = 3) -> str:
    """Letters of crypt's alphabet."""
    return "".join(random.Random(seed).choices(S, k=count))


@pytest.mark.parametrize(
    "value",
    [f"$2b$12${salted(53)}", f"$6${salted(16)}${salted(86)}", f"$6$rounds=5000${salted(8)}${salted(86)}",
     f"$y$j9T${salted(22)}${salted(43)}", f"$argon2id$v=19$m=65536,t=3,p=4${letters('a', 22)}${letters('a', 43)}",
     f"$apr1${salted(8)}${salted(22)}", f"pbkdf2_sha256$600000${letters('a', 22)}${letters('a', 43)}=",
     f"scrypt:32768:8:1${letters('a', 16)}${letters('h', 128)}", f"{{SSHA}}{letters('a', 38)}==",
     f"$zz9${salted(12)}${salted(40)}",
     f"SCRAM-SHA-256$4096:{letters('a', 22)}==${letters('a', 43)}=:{letters('a', 43, 8)}="],
)  # fmt: skip
def test_a_hash_of_a_password_is_known_by_its_parts(value: str) -> None:
    for text in (value, f"hash: {value}", f"他的是{value}，", f"('ann', '{value}', 1)", f'{{"h":"{value}"}}'):
        assert found(text) == [("KEY", value)]
    assert any(value in each for _, each in found(f"ann:{value}:19432:0:99999:7:::"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key AGE-SECRET-KEY-1{}", "".join(random.Random(5).choices("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", k=58))),
        ("DSN=https://{}@o123.ingest.example.io/4", letters("h", 32)),
        ("clone https://{}@git.example.com/a.git", letters("a", 40)),
        ("https://chat.example.cn/open-apis/bot/v2/hook/{}", "7da5d876-9427-4ec6-8273-3450c6316343"),
        ("https://chat.example.com/cgi-bin/webhook/send?key={}", "7da5d876-9427-4ec6-8273-3450c6316343"),
        ("token v4.local.{}", letters("a", 90)), ("key {}-us14", letters("h", 32)),
        ("the product key {}", "0F11X-TZ382-SSMMP-I396W-00X8X"),
        ("wallet {}", "KzGz2y4Gcji3KDMRy71YVMfqTxyWqXEUfr74RknxuPCNgdemTBtw"),
        ("wallet {}.", "5KJvsngHeMpm884wtkJNzQGaCErckhHJBGFsvd3VyK5qMZXj3hS"),
        ("2FA secret {} of ann", "JBSW Y3DP EHPK 3PXP"), ("Setup key: {}", "jbsw y3dp ehpk 3pxp"),
        ("otp_secret={}", "KVKFKRCPNZQUYMLXOVYDSQKJKZDTSRLD"), ("authenticator key: {}", "jbswy3dpehpk3pxp"),
        ("Recovery codes: {}.", "a1b2c-d3e4f"), ("Your recovery codes:\n  {}\n", "6a2f1-9bc3e\n  77d0a-13f5b"),
        ("backup codes: {}", "1234 5678, 8765 4321, 1122 3344"), ("recovery key {}", "XK7P-9QRM-2TVB-HW4D"),
        ("恢复码：{}，", "a1b2c-d3e4f"), ("备用验证码：{}", "48213907"),
        ("db.example.com:5432:shop:ann:{}", "s3cretpw"), ("# .pgpass\n*:*:*:postgres:{}\n", "hunter2x"),
        ("echo 'localhost:5433:*:app:{}' >> ~/.pgpass", "correcthorse"),
        ('Authorization: Digest username="Mufasa", nonce="dcd98b71", uri="/dir", nc=00000001, response="{}"',
         "6629fae49393a05397450978507c4ef1"),
        ("seed phrase: {}", "zoo wrong abandon ability able about above absent absorb abstract absurd abuse"),
        ("助记词：{}", "zoo wrong abandon ability able about above absent absorb abstract absurd abuse"),
        ("Authorization: Acme {}", letters("a", 40)), ("CREATE USER b IDENTIFIED BY '{}';", "hunter2hunter2"),
        ("mysql -u root -p'{}' -h db", "hunter2#2"), ("passphrase: \"{}\"", "correct horse battery staple"),
        ("root 密码改成了 {}", "hunter!2"), ("rzp_live_{}", "L5YyswmcTk5Lb6"),
    ],
)  # fmt: skip
def test_what_opens_something_is_found_in_its_form(text: str, value: str) -> None:
    assert any(kind == "KEY" and value in each for kind, each in found(text.format(value)))


@pytest.mark.parametrize(
    "before",
    ["api_key = '{}'", "AccountKey={};EndpointSuffix=x", "the auth token of our account is {}", "Cookie: sid={}; "
                                                                                                "lang=en",
     "X-Api-Key: {}", "?sv=1&sig={}&se=2", '"clientSecret":"{}"', "密钥是{}，", "Authorization: Bearer {}",
     "Authorization: Token {}", "<add key=\"ApiSecret\" value=\"{}\"/>", "os.environ['X_SECRET'] = '{}'", "--token {}",
     '"{{\\"accessToken\\": \\"{}\\"}}"', "Set-Cookie: JSESSIONID={}; Path=/"],
)  # fmt: skip
def test_a_key_without_a_form_is_known_by_what_stands_before_it(before: str) -> None:
    for key in (letters("a", 32), letters("h", 32, 3), letters("a", 40, 5)):
        assert ("KEY", key) in found(before.format(key))


def test_basic_authorization_is_a_name_and_a_password() -> None:
    given = base64.b64encode(b"ann:s3cr3t-words").decode()
    for text in ("Authorization: Basic {}", "authorization: basic {}", '{{"Authorization": "Basic {}"}}'):
        assert found(text.format(given)) == [("KEY", given)]
    assert found("Basic training for beginners") == [] == found("Basic dGhlcmUgaXMgbm9uZQ==")


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("postgres://app:pa55word@db/x", "pa55word"), ("redis://:s3cret99@cache", "s3cret99"),
        ("Password=abc123;Enc=1", "abc123"),
        ("mysql -uroot -ps3cret9 shop", "s3cret9"), ("curl -u bob:hunter2! x", "hunter2!"),
        ("userPassword: 'hunter2'", "hunter2"),
        ("<password>hunter2</password>", "hunter2"), ("PGPASSWORD=hunter2 psql", "hunter2"),
        ("WiFi密码hunter2", "hunter2"), ("mongodb://root:P@ss9@c0.example.net/x", "P@ss9"),
        ("密码(hunter2)", "hunter2"),
        ("sshpass -p 'hunter2' ssh", "hunter2"), ("密码是(2mT%iAf，", "(2mT%iAf"), ("密码是Qi0Gg(8x#Y，", "Qi0Gg(8x#Y"),
        (r'{"password": "ab\"c9\"Xy!z"}', r'ab\"c9\"Xy!z'), (r'{"password":"p4\"ss,w&x=0!","n":1}', r'p4\"ss,w&x=0!'),
        (r'{\"password\": \"hunter2\\\"x9\"}', r'hunter2\\\"x9'),
        ("contraseña: Gat0Negro7", "Gat0Negro7"), ('Mi contraseña nueva es: "sol-y-luna88"', "sol-y-luna88"),
        ("Le mot de passe du wifi est Ch4tNoir!", "Ch4tNoir!"), ("mot_de_passe=Ch4tNoir9", "Ch4tNoir9"),
        ("Пароль для входа: Qwe7rty!", "Qwe7rty!"), ("Das Passwort für den Drucker lautet Sonne2024!", "Sonne2024!"),
        ("Kennwort: Sonne#12", "Sonne#12"), ("パスワードはSakura#12です", "Sakura#12"),
        ("비밀번호: Seoul#12", "Seoul#12"),
        ("The password for the router is Sunny#42.", "Sunny#42"),
        ("(password: hunter2)", "hunter2"), ("密码是nOxA9)，", "nOxA9)"),
    ],
)  # fmt: skip
def test_a_password_is_what_is_given_as_one(text: str, password: str) -> None:
    assert ("KEY", password) in found(text)


@pytest.mark.parametrize(
    "text",
    [f"commit-{letters('h', 40)}", f"call_{letters('a', 24)}", f"toolu_01{letters('a', 22)}", f"req_{letters('a', 24)}",
     f"chatcmpl-{letters('a', 29)}", f"assets/index-{letters('a', 20)}.js", f"sha512-{letters('a', 86)}==",
     f"image sha256:{letters('h', 64)}", f"next_page_token={letters('a', 24)}",
     "token id 550e8400-e29b-41d4-a716-446655440000",
     "test_user_authentication_flow_2024", "MAX_CONNECTIONS_PER_HOST_V2=20", "api_key=${API_KEY}", "primary key "
                                                                                                   "20240101",
     "password: ********", "password = os.environ['DB_PASSWORD2']", "token = get_token2(request, session)",
     "max_tokens=1024",
     f"https://docs.example.com/d/{letters('a', 44)}/edit", "the key to room 20241130 is lost",
     "tokenizer=cl100k_base_v2_fast",
     f"$2b$12$ and $argon2id$ are prefixes, and use age1{'qpzry9x8gf2tvdw0' * 3}",
     "$HOME/$USER/lib/python3.11/site-packages",
     "$E = mc^2$ and $x_{1}, x_{2}$", "{HOST}/api/v2/users/1234567890/profile", "awk '{print $1$2$3}' log2024",
     "hf_transfer_enabled_everywhere", "npm_config_registry_settings", "docker run -u 1000:1000 image",
     "curl -u $USER:$PASS https://x", "Authorization: Acme credentials are required",
     "https://example.com/webhooks/how-to-verify-a-signature", "authorization is required for every route",
     "in other words the model will learn from these examples when they are given with care",
     "recovery codes are shown once, see page 12345678", "backup codes: 10 are left", "backup key 2024-01-02 is due",
     "main.c:5432:10:warning:unusedvar", "arn:aws:sns:*:123456789012:topic", f"response={letters('h', 32)} is the etag",
     "Passwort vergessen?", "Passwort: mindestens 8 Zeichen", "contraseña de 8 dígitos", "mot de passe : obligatoire",
     "пароль истекает 12.10.2025", "the password for the team was changed",
     "secret santa, key facts: this code will soon",
     '{"password": {"type": "string", "minLength": 8}, "x": "y1"}', '"password": "", "token": "", "n": 12345',
     f"commit {letters('h', 40)} signs the token", "the design of the author is a signal"],
)  # fmt: skip
def test_what_only_looks_like_a_key_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_what_is_drawn_at_random_and_what_is_written() -> None:
    for which in LETTERS:
        assert sum(drawn(letters(which, 32, seed)) for seed in range(200)) >= 180
    assert not any(
        map(
            drawn,
            ("HTTPServerRequestHandlerFactory2", "release-2024-11-30-candidate-4", "a" * 40, "user1user1user1user1"),
        )
    )
