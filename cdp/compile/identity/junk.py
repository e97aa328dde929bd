"""Values that identify nobody: data, in one place, versioned.

`JUNK_VERSION` is raised with every change: another list is another partition.
"""

from __future__ import annotations

JUNK_VERSION = 1

# whole values (lower case, trimmed) of any type
WORDS = ("null", "none", "nan", "undefined", "unknown", "n/a", "guest", "anonymous", "test")
ZERO_UUIDS = ("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000")

# identifiers normalised as e-mail: mailboxes that nobody reads, and what people type to get past a form
MAILBOXES = (
    "noreply", "no-reply", "no_reply", "no.reply", "donotreply", "do-not-reply", "do_not_reply",
    "mailer-daemon", "nobody", "noemail", "no-email", "nomail",
)  # fmt: skip
ADDRESSES = (
    "test@test.com", "test@test.fr", "test@example.com", "test@test.test", "test@gmail.com", "example@example.com",
    "user@example.com", "email@example.com", "email@email.com", "none@none.com", "na@na.com", "no@no.com",
    "no@email.com", "a@a.com", "a@a.a", "aa@aa.com", "aaa@aaa.com", "abc@abc.com", "asdf@asdf.com",
    "unknown@unknown.com", "guest@guest.com", "anonymous@anonymous.com", "null@null.com",
)  # fmt: skip
SHORTEST_EMAIL = 5  # a@b.c
SHORTEST_PHONE = 6  # digits

ONE_DIGIT = "^(0+|1+|2+|3+|4+|5+|6+|7+|8+|9+)$"

# reasons as they stand in `_dropped`
EMPTY, WORD, ZERO_UUID, PLACEHOLDER, REPEATED, SHORT, NO_PHONE, BLOCKED, SHARED = (
    "empty", "junk_word", "zero_uuid", "placeholder", "one_digit", "too_short", "no_phone", "blocked", "shared",
)  # fmt: skip
