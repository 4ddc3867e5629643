//! Texts of any length that make Markdown parsers, tables or splitting slow: shared by the tests and by `benches/markdown.rs`.

/// A piece repeated up to a length in bytes.
fn run(piece: &str, length: usize) -> String {
    piece.repeat(length / piece.len() + 1)
}

/// Numbered pieces up to a length in bytes.
fn numbered(length: usize, piece: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= length {
            break;
        }
        text.push_str(&piece(number));
    }
    text
}

/// A piece for one half, and another for the other one.
fn halves(first: &str, second: &str, length: usize) -> String {
    run(first, length / 2) + &run(second, length / 2)
}

/// Pieces that are bombs when they are repeated, alone or after each other.
pub const PIECES: [&str; 94] = [
    ">",
    "> ",
    "- ",
    "* ",
    "+ ",
    "1. ",
    "> - ",
    "- > ",
    "1) > ",
    "[^a]: - ",
    "*",
    "_",
    "~",
    "~~",
    "~a",
    "：**字",
    "~~。*",
    "`",
    "``",
    "`a``",
    "*a **a ",
    "a**b",
    "*a_ ",
    "_a*",
    "**a `b` ",
    "[",
    "]",
    "![",
    "](",
    "[a](",
    "[a](<",
    "[a](b '",
    "[a](b \"",
    "![[]()",
    "[a]",
    "[a][b]",
    "[^a]",
    "[]: ",
    "[a]: b\n",
    "[a]: b\n\"",
    "[^a]: b\n",
    "<",
    "<a",
    "<a b='",
    "<!--",
    "<!-- -->",
    "<b>",
    "</b>",
    "<b><i>",
    "</b></i>",
    "<b>x</i>",
    "<code>",
    "</code>",
    "<a href=x>",
    "<a href=\"https://e.org\">x</a>",
    "</a>",
    "<sub>2",
    "<sup>2</sup>",
    "\n<pre>",
    "\n<details>\n",
    "\n</details>\n",
    "\n<ul><li>",
    "\n<li>\n\n",
    "\n<table>",
    "<tr><td>",
    "<td>a",
    "<blockquote>\n\n",
    "<p>",
    "<br>",
    "a.md ",
    "a.sh&amp;",
    "**b.py",
    "<?",
    "<![CDATA[",
    "<!A ",
    "<a:",
    "<a@b.",
    "&",
    "&amp;",
    "&#35;",
    "\\",
    "\\(",
    "\\[",
    "\\(x\\)",
    "$",
    "$$",
    "${",
    "$}",
    "|",
    "|a",
    "|a|\n|-|\n",
    "a\n---\n",
    "a\n",
    "\n",
];

/// Known bombs of about `length` bytes, by name.
pub fn bombs(length: usize) -> Vec<(String, String)> {
    let mut bombs: Vec<(String, String)> = PIECES
        .iter()
        .map(|piece| (format!("{piece:?} again and again"), run(piece, length)))
        .collect();
    let mut add = |name: &str, text: String| bombs.push((name.to_owned(), text));
    let half = length / 2;
    add(
        "quotes around lazy lines",
        run(">", half) + "x\n" + &run("a\n", half),
    );
    add(
        "lists around empty lines",
        run("- ", half) + "x\n" + &run("\n", half),
    );
    add(
        "lists around code",
        run("- ", half) + "```\n" + &run("\n", half),
    );
    add(
        "quotes around empty quotes",
        run("> - ", half) + "x\n" + &run(">\n", half),
    );
    add(
        "lists around a comment",
        run("- ", half) + "<!--\n" + &run("\n", half),
    );
    add(
        "bullets of two kinds",
        run("- ", half) + "* " + &run("- ", half) + "x",
    );
    add("bullets that are nearly a rule", run("* ", length) + "x");
    add(
        "a title over many lines",
        format!("[a](b \"{}\")", run("*\n", length)),
    );
    add(
        "a title that never ends",
        format!("[a](b '{}", run("a\n", length)),
    );
    add(
        "a title behind many marks",
        format!("[a]({} \"{}", run("*", half), run("a\n", half)),
    );
    add(
        "an escaped title",
        format!("[a](b \"{}", run("\\\"\n", length)),
    );
    add(
        "a title in a quote",
        format!("> [a](b\n>\"{}", run("a\n>", length)),
    );
    add(
        "many small wide tables",
        numbered(length, |_| {
            format!(
                "{}\n{}\n{}\n",
                run("|a", 700),
                run("|-", 700),
                run("|\n", 1400)
            )
        }),
    );
    let column = length / 8;
    add(
        "a wide table with many rows",
        format!(
            "{}\n{}\n{}",
            "|a".repeat(column),
            "|-".repeat(column),
            run("|b\n", half)
        ),
    );
    add(
        "a table with a long head",
        format!("|{}|b|\n|-|-|\n{}", run("a", half), run("|c|d|\n", half)),
    );
    add(
        "a table with many columns",
        format!("{}\n{}\n", "|a".repeat(length / 4), "|-".repeat(length / 4)),
    );
    add(
        "a table of links",
        format!(
            "|a|b|\n|-|-|\n{}",
            run("|[x](https://e.org)|`c`|\n", length)
        ),
    );
    add(
        "lists, each deeper",
        numbered(length, |depth| format!("{}- a\n", "  ".repeat(depth))),
    );
    add("lists, each deeper, and empty lines", {
        numbered(half, |depth| format!("{}- a\n", "  ".repeat(depth))) + &run("\n", half)
    });
    add(
        "ever longer code marks",
        numbered(length, |n| format!("{}a", "`".repeat(n))),
    );
    add("ever shorter code marks", {
        let most = usize::isqrt(2 * length);
        (1..most).rev().map(|n| "`".repeat(n) + "\\").collect()
    });
    add(
        "many link definitions",
        numbered(length, |n| format!("[a{n}]: https://e.org/{n}\n")),
    );
    add(
        "many uses of a long link",
        format!(
            "[a]: https://e.org/{}\n\n{}",
            run("x", half),
            run("[a] ", half)
        ),
    );
    add(
        "a long link over long text",
        format!("[{}](https://e.org/{})", run("word ", half), run("y", half)),
    );
    add(
        "many footnotes",
        numbered(length, |n| format!("a[^{n}]\n\n[^{n}]: b\n\n")),
    );
    add(
        "nested emphasis with code",
        halves("*a **b ~~c `d` ", "e~~ f** g*", length),
    );
    add(
        "emphasis in emphasis with code",
        run("*a ", length / 3) + &run("`b`", length / 3) + &run(" c*", length / 3),
    );
    add(
        "nested images",
        run("![", length / 3) + "\u{a0}" + &run("](a)", 2 * length / 3),
    );
    add(
        "nested images around white space",
        run("![", length / 4) + &run("\u{a0}", length / 4) + &run("](a)", half),
    );
    add("white space", format!("a{}b", run(" ", length)));
    add("no-break spaces", format!("a{}b", run("\u{a0}", length)));
    add(
        "white space in code",
        format!("```\na{}b\n```", run(" ", length)),
    );
    add(
        "empty lines in code",
        format!("```\na{}b\n```", run("\n", length)),
    );
    add(
        "closing brackets behind white space",
        format!("```\na {}\n```", run("\")\n", length)),
    );
    add("carriage returns", run("|\r", length));
    add("zero-width characters", run("\u{200b}\n", length));
    add(
        "combining characters",
        run("e\u{301}\u{302}\u{303}", length),
    );
    add(
        "one letter with many accents",
        format!("e{}", run("\u{301}", length)),
    );
    add("families", run("👨\u{200d}👩\u{200d}👧", length));
    add("one endless emoji", run("👩\u{200d}", length));
    add("flags", run("🇮🇹", length));
    add("right-to-left marks", run("\u{202e}a\u{200f}", length));
    add("one word", run("a", length));
    add("formulas that never end", run("\\(x $", length) + "\\)");
    add("display formulas that never end", run("\\[x\n", length));
    add("braces in formulas", halves("${", "}$", length));
    add("setext headings", run("a\n===\nb\n---\n", length));
    add("fences", run("```\n~~~\n", length));
    add("attributes", halves("<a b=\"c\" ", "d='e' ", length));
    add(
        "crossed tags",
        run("<b>a<i>b<u>c<s>d", half) + &run("</b>e</i>f</u>g</s>", half),
    );
    add(
        "tags that never end",
        run("\n<p><a x=\"", half) + &run("<a y='b'", half),
    );
    add(
        "elements around many lines",
        run("<div><details>\n", half) + "\n" + &run("a\n\n", half),
    );
    add(
        "a table of HTML with missing cells",
        format!(
            "<table><tr>{}{}",
            run("<td>a", half),
            run("<tr><td>b", half)
        ),
    );
    add(
        "code in code of HTML",
        run("<code>a<b>", half) + &run("</code></b>", half),
    );
    add("references", run("<p>&amp;&#38;&", length));
    add("tasks", run("- [ ] ", length));
    add("alerts", run("> [!NOTE]\n", length));
    bombs
}
