//! `docs/commands.md` is what the program says of itself: every command with its arguments, flags, environment variables and defaults.

use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};
use regex::Regex;
use telegram_connector_operator::cli::Cli;

use super::compare_page;

const HEAD: &str = "# Command line

<!-- Generated from src/cli; UPDATE_DOCS=1 cargo test --test manifests writes it anew. -->

Each flag that has an environment variable takes its value from there where it is not given; the values of a repeatable flag are parted by commas there (`WATCH_NAMESPACE=acme,beta`). Of a flag that is given twice the last \
counts, lists grow. The [chart](../charts/telegram-connector-operator/README.md) sets the flags of `run` from its values, and `extraArgs` adds to them.

`denied`, `sessions`, `dead-letters`, `requests` and `grants` ask the [data API](data-api.md) of the kubeconfig's cluster with your own rights. Where there is none, or a store is named, they read the store, and so do `erase` and `backup`: in the operator's Pod, `kubectl -n telegram-connectors exec deploy/telegram-connector-operator -- ` before each. `send`, `approve`, `refuse` and `grant` need the data API. Installed under the name `kubectl-tgc` the binary is a plugin: `kubectl tgc status`, `kubectl tgc denied support -n acme`. `dev` and `demo` are in no image.
";

#[test]
fn the_command_page_is_what_the_program_says() {
    let mut cli = Cli::command();
    cli.build();
    let mut page = String::from(HEAD);
    for command in cli.get_subcommands().filter(|c| c.get_name() != "help") {
        write_command(&mut page, command.get_name(), command);
    }
    compare_page("docs/commands.md", &page);
}

fn write_command(page: &mut String, name: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string);
    write!(page, "\n## {name}\n\n{}.\n", about.unwrap_or_default()).unwrap();
    let arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|a| !matches!(a.get_id().as_str(), "help" | "version"))
        .filter(|a| !a.is_hide_set())
        .collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | meaning | default | environment |\n|---|---|---|---|\n");
    }
    for argument in arguments {
        write_argument(page, argument);
    }
    for part in command.get_subcommands().filter(|c| c.get_name() != "help") {
        write_command(page, &format!("{name} {}", part.get_name()), part);
    }
}

fn write_argument(page: &mut String, argument: &Arg) {
    let help = argument.get_help().map(ToString::to_string);
    let stated = Regex::new(r" *\[default: (.*)\]$").unwrap();
    let help = help.unwrap_or_default();
    let in_words = stated.captures(&help).map(|found| found[1].to_owned());
    let mut meaning = stated.replace(&help, "").into_owned();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| argument.get_action().takes_values())
        .map(|choice| format!("`{}`", choice.get_name()))
        .collect();
    // A choice of true and false goes without saying.
    if choices.len() > 1 && choices[0] != "`true`" {
        meaning += ": ";
        meaning += &choices.join(", ");
    }
    if argument.is_required_set() {
        meaning += "; **required**";
    }
    let given: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let default = in_words.unwrap_or_else(|| {
        if argument.get_action().takes_values() {
            given.join(", ")
        } else {
            String::new()
        }
    });
    let environment = argument
        .get_env()
        .map(|name| format!("`{}`", name.to_string_lossy()));
    writeln!(
        page,
        "| {} | {} | {} | {} |",
        shown(argument),
        escape(&meaning),
        escape(&default),
        environment.unwrap_or_default()
    )
    .unwrap();
}

/// The argument as it is typed.
fn shown(argument: &Arg) -> String {
    let values = argument.get_value_names().map(|names| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    });
    let long = argument.get_long().unwrap_or_default();
    // A value that is named after its flag goes without saying.
    let values = values.filter(|values| {
        argument.get_action().takes_values() && *values != long.replace('-', "_").to_uppercase()
    });
    let short = argument.get_short().map(|short| format!("`-{short}`, "));
    let text = match (argument.get_long(), values) {
        (Some(long), Some(values)) => {
            format!("{}`--{long} {values}`", short.unwrap_or_default())
        }
        (Some(long), None) => format!("{}`--{long}`", short.unwrap_or_default()),
        (None, values) => format!("`{}`", values.unwrap_or_default()),
    };
    escape(&text)
}

/// Text for a table's cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}
