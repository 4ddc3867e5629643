//! `docs/telegramconnector.md` and `docs/telegramuserlist.md` are what the schema says: every field with its type, bounds, rules, and what
//! its absence means.

use std::fmt::Write;

use regex::Regex;
use serde_json::{Map, Value};
use telegram_connector_operator::api::crds;

use super::compare_page;

#[test]
fn the_resource_pages_are_what_the_schema_says() {
    for crd in crds::all() {
        let crd = serde_json::to_value(&crd).unwrap();
        let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
        let name = format!("docs/{}.md", kind.to_lowercase());
        compare_page(&name, &ResourcePage::of(&crd));
    }
}

/// The one reader who cannot guess is the one who leaves a choice out.
#[test]
fn optional_choices_say_what_counts_without_them() {
    for crd in crds::all() {
        let page = ResourcePage::of(&serde_json::to_value(&crd).unwrap());
        let (spec, _) = page.split_once("\n## `status`").unwrap();
        let choice = |line: &&str| line.starts_with("| `") && line.contains("string, one of `");
        for row in spec.lines().filter(choice) {
            let says = ["**required**", "**Default ", "**Absent: ", "[]string"];
            assert!(says.iter().any(|s| row.contains(s)), "no default: {row}");
        }
    }
}

/// The page while it is written.
struct ResourcePage {
    text: String,
    /// Objects that have a section: their path and their schema without its description.
    sections: Vec<(String, Value)>,
}

impl ResourcePage {
    fn of(crd: &Value) -> String {
        let names = &crd["spec"]["names"];
        let version = &crd["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        let mut page = Self {
            text: String::new(),
            sections: Vec::new(),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        write!(
            page.text,
            "# {}\n\n<!-- Generated from src/api; UPDATE_DOCS=1 cargo test --test manifests writes it anew. -->\n\n{}\n\n\
             `apiVersion: {}/{}`, short name `{}`, in a namespace. No field has a default in the schema, so that nothing is written into your \
             objects; what counts where a field is absent is in **bold**. The rules are checked at admission and by `telegram-connector-operator \
             check`, with these words.\n",
            text(&names["kind"]),
            text(&schema["description"]),
            text(&crd["spec"]["group"]),
            text(&version["name"]),
            text(&names["shortNames"][0]),
        )
        .unwrap();
        for part in ["spec", "status"] {
            page.section(part, &schema["properties"][part]);
        }
        page.columns(&version["additionalPrinterColumns"]);
        page.text
    }

    /// An object's fields and rules, then the sections of the objects in it.
    fn section(&mut self, path: &str, schema: &Value) {
        self.sections.push((path.to_owned(), without_words(schema)));
        let level = "#".repeat((path.matches('.').count() + 2).min(4));
        write!(
            self.text,
            "\n{level} `{path}`\n\n{}\n\n| field | type | meaning |\n|---|---|---|\n",
            sentence(schema)
        )
        .unwrap();
        let empty = Map::new();
        let fields = schema["properties"].as_object().unwrap_or(&empty);
        let mut below = Vec::new();
        for (name, field) in fields {
            let (type_name, object) = self.type_of(&format!("{path}.{name}"), field, &mut below);
            let required = schema["required"]
                .as_array()
                .is_some_and(|names| names.iter().any(|n| n == name.as_str()));
            let required = if required { ", **required**" } else { "" };
            writeln!(
                self.text,
                "| `{name}` | {type_name}{}{required} | {} |",
                bounds(object),
                sentence(field)
            )
            .unwrap();
        }
        self.rules(schema, fields);
        for (path, schema) in below {
            if !self.sections.iter().any(|(known, _)| *known == path) {
                self.section(&path, &schema);
            }
        }
    }

    /// The words for a field's type, and the schema that its bounds are in: of a list of scalars its items'.
    fn type_of<'a>(
        &self,
        path: &str,
        field: &'a Value,
        below: &mut Vec<(String, Value)>,
    ) -> (String, &'a Value) {
        let list = field["type"] == "array";
        let (inner, prefix) = if list {
            (&field["items"], "[]")
        } else {
            (field, "")
        };
        let path = if list {
            format!("{path}[]")
        } else {
            path.to_owned()
        };
        let count = match (field["minItems"].as_u64(), field["maxItems"].as_u64()) {
            (None, Some(most)) => format!(", at most {most}"),
            (Some(least), Some(most)) => format!(", {least} to {most}"),
            _ => String::new(),
        };
        let different = match field["x-kubernetes-list-type"].as_str() {
            Some("set") => ", each once".to_owned(),
            Some("map") => format!(
                ", each `{}` once",
                field["x-kubernetes-list-map-keys"][0]
                    .as_str()
                    .unwrap_or_default()
            ),
            _ => String::new(),
        };
        let type_name = inner["type"].as_str().unwrap_or("any");
        let shown = if inner["properties"].is_object() {
            let shape = without_words(inner);
            let known = self.sections.iter().find(|(_, schema)| *schema == shape);
            let ahead = below
                .iter()
                .find(|(_, schema)| without_words(schema) == shape);
            let section = known.or(ahead).map_or(&path, |(path, _)| path).clone();
            below.push((section.clone(), inner.clone()));
            format!("[{prefix}{type_name}](#{})", anchor(&section))
        } else {
            format!("{prefix}{type_name}")
        };
        (format!("{shown}{count}{different}"), inner)
    }

    fn rules(&mut self, schema: &Value, fields: &Map<String, Value>) {
        let mut rules = Vec::new();
        for rule in items(&schema["x-kubernetes-validations"]) {
            let field = rule["fieldPath"]
                .as_str()
                .map(|f| f.trim_start_matches('.'));
            rules.push((field, rule["message"].as_str().unwrap()));
        }
        for (name, field) in fields {
            // An object's own rules are in its section.
            let own = if field["properties"].is_object() {
                &Value::Null
            } else {
                &field["x-kubernetes-validations"]
            };
            for rule in items(own) {
                rules.push((Some(name), rule["message"].as_str().unwrap()));
            }
        }
        if !rules.is_empty() {
            self.text.push_str("\nRules:\n\n");
        }
        for (field, message) in rules {
            let message = escape(message);
            match field {
                Some(field) if message.starts_with(&format!("{field} ")) => {
                    writeln!(self.text, "- `{field}`{}", &message[field.len()..])
                }
                Some(field) => writeln!(self.text, "- `{field}`: {message}"),
                None => writeln!(self.text, "- {message}"),
            }
            .unwrap();
        }
    }

    fn columns(&mut self, columns: &Value) {
        self.text.push_str(
            "\n## Columns of `kubectl get`\n\n| column | shown | meaning |\n|---|---|---|\n",
        );
        for column in items(columns) {
            let wide = column["priority"].as_i64().unwrap_or_default() > 0;
            writeln!(
                self.text,
                "| {} | {} | {} |",
                column["name"].as_str().unwrap().to_uppercase(),
                if wide { "with `-o wide`" } else { "always" },
                column["description"].as_str().unwrap_or_default()
            )
            .unwrap();
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A schema without its own description: two objects with the same fields share a section.
fn without_words(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.remove("description");
    }
    schema
}

fn anchor(path: &str) -> String {
    path.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase()
}

/// Text for a table's cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "\\<")
        .replace('*', "\\*")
}

/// The description on one line, with what absence means in bold.
fn sentence(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    let text = escape(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    let absent = Regex::new(r"(^|\. |; )((?:Default|[Aa]bsent:) .*?\.)( |$)").unwrap();
    absent.replace_all(&text, "$1**$2**$3").into_owned()
}

/// The bounds of a value, from the schema.
fn bounds(schema: &Value) -> String {
    let between = |least: &str, most: &str, unit: &str| {
        let bound = |name: &str| schema[name].as_f64().map(|n| format!("{n}"));
        match (bound(least), bound(most)) {
            (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
            (None, Some(most)) => format!(", at most {most}{unit}"),
            (Some(least), None) => format!(", at least {least}{unit}"),
            (None, None) => String::new(),
        }
    };
    let mut limits = between("minimum", "maximum", "")
        + &between("minLength", "maxLength", " characters")
        + &between("minProperties", "maxProperties", " fields");
    let choices: Vec<String> = items(&schema["enum"])
        .map(|choice| format!("`{}`", choice.as_str().unwrap_or_default()))
        .collect();
    if !choices.is_empty() {
        limits += ", one of ";
        limits += &choices.join(", ");
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        limits += &[", `", &pattern.replace('|', "\\|"), "`"].concat();
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        limits += ", any further fields";
    }
    limits
}
