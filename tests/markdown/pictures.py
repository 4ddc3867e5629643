#!/usr/bin/env python3
"""Draws samples as a Telegram message shows them, for docs/formatting.md, docs/buttons.md and docs/approvals.md.

Takes the HTML that the operator sends (the reviewed snapshots; of questions, the messages below), puts it into a bubble styled like Telegram's
and lets headless Chromium draw it. KaTeX, from npm, draws the formulas of rich messages. Run it again after a snapshot has changed; Chromium,
npm and the fonts DejaVu and Noto Color Emoji must be installed:

    python3 tests/markdown/pictures.py [CHROMIUM]
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
PICTURES = HERE.parent.parent / "docs" / "formatting"
SAMPLES = {
    "47_recipe": "headings-and-lists",
    "10_mixed_nested_lists": "nested-lists",
    "14_code_block_in_a_list": "code",
    "20_small_table": "small-table",
    "22_wide_table": "wide-table",
    "54_math_heavy_bullets": "formulas",
    "rich_22_wide_table": "rich-table",
    "rich_36_latex_display": "rich-formulas",
}
KATEX = "katex@0.19.1"
# Questions with buttons: what is sent, the rows of buttons, and what stands there once it is decided.
QUESTIONS = {
    "choice": (
        "I found three rooms for Friday at ten. Which one shall I book?",
        [["Ada", "Lovelace"], ["Babbage, with a beamer"]],
        "I found three rooms for Friday at ten. Which one shall I book?\n\n✓ Lovelace",
    ),
    "approval": (
        "The assistant asks for approval:\n<b>delete_pod</b>\n<pre>force: true\nname: &quot;web-1&quot;\n\nIt is restarted by its Deployment.</pre>",
        [["Approve", "Refuse"]],
        "The assistant asks for approval:\n<b>delete_pod</b>\n<pre>force: true\nname: &quot;web-1&quot;\n\nIt is restarted by its Deployment.</pre>\n"
        "✓ Ben: Approve",
    ),
}
WIDTH = 440
LARGEST = 60_000

PAGE = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #c5d9b7; font: 15px/1.36 "DejaVu Sans", "Noto Color Emoji", sans-serif; }
main { display: inline-block; box-sizing: border-box; width: %dpx; padding: 14px; }
article { position: relative; background: #fff; border-radius: 12px 12px 12px 4px; padding: 8px 12px 20px; margin-bottom: 6px;
  box-shadow: 0 1px 1px #0002; white-space: pre-wrap; overflow-wrap: anywhere; }
article::after { content: "12:00"; position: absolute; right: 10px; bottom: 4px; font-size: 11px; color: #9aa5ad; }
a { color: #168acd; text-decoration: none; }
code { color: #ca3c6b; font: 13px "DejaVu Sans Mono", monospace; }
pre { margin: 2px 0; padding: 6px 10px; background: #f0f4f8; border-left: 3px solid #168acd; border-radius: 4px;
  font: 12px/1.4 "DejaVu Sans Mono", monospace; white-space: pre-wrap; }
pre code { color: inherit; font: inherit; }
pre code[class]::before { content: attr(class); display: block; color: #168acd; font-weight: bold; }
blockquote { margin: 2px 0; padding: 2px 10px; background: #eef6fb; border-left: 3px solid #168acd; border-radius: 4px; }
.rich { white-space: normal; }
.rich p { margin: 4px 0; }
table { border-collapse: collapse; margin: 4px 0; font-size: 13px; }
th, td { border: 1px solid #d5dde3; padding: 4px 6px; overflow-wrap: break-word; text-align: left; vertical-align: top; }
th { background: #f0f4f8; }
tg-math-block { display: block; margin: 8px 0; }
nav { display: flex; gap: 4px; margin: 0 0 4px; }
nav span { flex: 1; padding: 8px; border-radius: 8px; background: #6d8a6699; color: #fff; font-weight: bold; text-align: center; font-size: 14px; }
nav + article { margin-top: 20px; }
</style>%s<main>%s</main>
<script>
for (const formula of document.querySelectorAll("tg-math, tg-math-block"))
  katex.render(formula.textContent, formula, { displayMode: formula.localName === "tg-math-block" });
document.fonts.ready.then(() => { document.title = Math.ceil(document.querySelector("main").getBoundingClientRect().height); });
</script>"""


def message(sample: str) -> str:
    """What the operator sends: a snapshot without its head."""
    text = (HERE / "snapshots" / f"{sample}.snap").read_text()
    body = text.split("\n---\n", 1)[1].strip("\n")
    # The language stands above a block of code.
    body = re.sub(r'class="language-([^"]*)"', r'class="\1"', body)
    # Blocks end their line by themselves.
    return re.sub(r"(</(?:pre|blockquote)>)\n", r"\1", body)


def article(html: str, kind: str = "text") -> str:
    return f'<article class="{kind}">{html}</article>'


def question(asked: str, rows: list, decided: str) -> str:
    """The message with its buttons, and what it becomes."""
    keyboard = "".join("<nav>" + "".join(f"<span>{text}</span>" for text in row) + "</nav>" for row in rows)
    return article(asked) + keyboard + article(decided)


def main() -> None:
    chromium = sys.argv[1] if len(sys.argv) > 1 else shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        sys.exit("no Chromium: name it, or install the package chromium")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile"),
            *("--allow-file-access-from-files", "--virtual-time-budget=5000"),
        ]
        subprocess.run(
            ["npm", "install", "--prefix", folder, "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", KATEX],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        katex = f"{folder}/node_modules/katex/dist/katex.min"
        formulas = f'<link rel="stylesheet" href="file://{katex}.css"><script src="file://{katex}.js"></script>'
        pages = {}
        for sample, name in SAMPLES.items():
            is_rich = sample.startswith("rich_")
            pages[name] = (formulas if is_rich else "", article(message(sample), "rich" if is_rich else "text"))
        pages |= {name: ("", question(*parts)) for name, parts in QUESTIONS.items()}
        for name, (head, body) in pages.items():
            page = pathlib.Path(folder) / f"{name}.html"
            page.write_text(PAGE % (WIDTH, head, body))
            drawn = subprocess.run(
                [*command, f"--window-size={WIDTH},2000", "--dump-dom", page.as_uri()], check=True, capture_output=True, text=True
            )
            height = re.search(r"<title>(\d+)</title>", drawn.stdout).group(1)
            picture = PICTURES / f"{name}.png"
            subprocess.run(
                [*command, f"--window-size={WIDTH},{height}", f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True
            )
            size = picture.stat().st_size
            print(f"{picture.relative_to(PICTURES.parent.parent)}: {WIDTH}x{height}, {size} bytes")
            if size > LARGEST:
                sys.exit(f"{picture} has more than {LARGEST} bytes")


main()
