import pytest

from pitcore.support.secrets import without_secrets

SECRET = "hunter2hunter2"  # noqa: S105  that is what the test is about


@pytest.mark.parametrize(
    "text",
    [
        f'password = "{SECRET}"',
        f"mqtt_password='{SECRET}'",
        f'{{"access_token": "{SECRET}", "x": 1}}',
        f"API-KEY: {SECRET}",
        f'url = "https://user:{SECRET}@host/models"',
        f'url = "https://user:p@ss{SECRET}@host/models"',
        f'url = "https://user:it\'s{SECRET}@host/models"',
        f"cannot open 'rtsp://admin:Cherry@{SECRET}@10.0.0.7/stream'",
        f"Authorization: TargetToken {SECRET}",
        f"Authorization: GatewayToken {SECRET}",
        f"GET https://host/x?sig={SECRET}&y=1",
        f"Authorization: Bearer {SECRET}",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\nand then the end was cut off",
    ],
)
def test_no_secret_leaves_the_board(text):
    assert SECRET not in without_secrets(text)


def test_what_is_no_secret_stays():
    text = 'url = "https://host/models"\n[decision]\naccept = 0.02  # keys: none\nkeep = 8\n{"tick": 5, "key": 3}\n'
    assert without_secrets(text) == text
