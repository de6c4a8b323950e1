"""Malicious names, texts and addresses that tests hand to everything that reads or shows one."""

SCRIPT = "document.title='owned';alert(1)"
MARKUP = (  # without a slash, so that a folder can be called so
    f"a<img src=x onerror={SCRIPT}>",
    f"<svg onload={SCRIPT}>",
    f"<script>{SCRIPT}<!--",
    f'" onmouseover="{SCRIPT}" style="position:fixed;inset:0',
    f"<body onload={SCRIPT}>",
    f"<details open ontoggle={SCRIPT}>",
)
LEAVING = (  # paths that a data file or an index names
    "../secret.png",
    "a/../../secret.png",
    "..",
    "/etc/passwd",
    "\\\\server\\share\\x.png",
    "..\\secret.png",
    "C:\\secret.png",
    "a\0.png",
)
CODES = (  # what a terminal obeys
    "\x1b]0;owned\x07",  # another window title
    "\x1b[2J\x1b[H",  # an empty screen
    "\x1b]52;c;b3duZWQ=\x07",  # the clipboard
    "\x1b[8m",  # hidden text
    "\x9b31m",  # the same in one character
    "\x90q\x9c",  # a device control string
    "\r\x1b[Aover another line",
    "\b\b\b",
    "\x7f",
    "\u202egnp.exe",  # the right-to-left override
    "\u2066\u2069",
)
FORMULAS = (
    '=HYPERLINK("http://owned","a cat")',
    "=1+1",
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    "'=1+1",
)
