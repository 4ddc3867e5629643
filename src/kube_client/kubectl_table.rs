//! The output of `kubectl get`: requests a collection as a `Table` and formats it as kubectl does, for commands and for `dev`.

use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

/// The `Accept` header of `kubectl get`.
const ACCEPT: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
    #[serde(default)]
    metadata: ListMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct ListMetadata {
    #[serde(default)]
    r#continue: String,
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Debug, Deserialize)]
struct Row {
    cells: Vec<Value>,
    /// What kubectl asks for, too: the metadata alone.
    #[serde(default)]
    object: Value,
}

#[cfg(feature = "dev")]
/// The table of the collection at an API path, such as `/apis/connectors.pupau.ai/v1alpha1/namespaces/acme/telegramconnectors`;
/// `wide` as in `-o wide`.
///
/// # Errors
/// The request fails, or the response is no `Table`.
pub(crate) async fn render(client: &Client, path: &str, wide: bool) -> Result<String, kube::Error> {
    Ok(format_table(&read(client, path).await?, wide, true))
}

/// A page of a collection as `kubectl get -o wide` prints it, without objects created before `since`: only the first one has the headings.
/// `path` has the query with limit and token.
///
/// # Errors
/// The request fails, or the response is no `Table`.
pub(crate) async fn render_page(
    client: &Client,
    path: &str,
    since: Option<Timestamp>,
    is_first: bool,
) -> Result<TablePage, kube::Error> {
    let mut table = read(client, path).await?;
    if let Some(since) = since {
        table.rows.retain(|row| {
            let created = row.object.pointer("/metadata/creationTimestamp");
            is_since(created.and_then(Value::as_str), since)
        });
    }
    Ok(TablePage {
        text: format_table(&table, true, is_first),
        rows: table.rows.len(),
        next: Some(table.metadata.r#continue).filter(|token| !token.is_empty()),
    })
}

/// Whether a `creationTimestamp` is not before `since`; one that cannot be read counts as new.
pub(crate) fn is_since(created: Option<&str>, since: Timestamp) -> bool {
    let created = created.and_then(|text| text.parse::<Timestamp>().ok());
    created.is_none_or(|created| created >= since)
}

/// A page of a table that is printed.
#[derive(Debug)]
pub(crate) struct TablePage {
    /// Lines for people.
    pub(crate) text: String,
    /// Without the headings.
    pub(crate) rows: usize,
    /// The token of the next page.
    pub(crate) next: Option<String>,
}

/// The rows of the collection at an API path: name and value of each column that is shown without `-o wide`.
///
/// # Errors
/// The request fails, or the response is no `Table`.
#[cfg(feature = "dev")]
pub(crate) async fn rows(
    client: &Client,
    path: &str,
) -> Result<Vec<Vec<(String, String)>>, kube::Error> {
    let table = read(client, path).await?;
    let row = |row: &Row| {
        let cells = table.column_definitions.iter().zip(&row.cells);
        cells
            .filter(|(column, _)| column.priority == 0)
            .map(|(column, cell)| (column.name.clone(), format_cell(Some(cell))))
            .collect()
    };
    Ok(table.rows.iter().map(row).collect())
}

async fn read(client: &Client, path: &str) -> Result<Table, kube::Error> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, ACCEPT)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}

/// kubectl's layout: upper-case headings, three spaces between columns, `<none>` for an empty cell.
fn format_table(table: &Table, wide: bool, with_headings: bool) -> String {
    let shown: Vec<usize> = (0..table.column_definitions.len())
        .filter(|&i| wide || table.column_definitions[i].priority == 0)
        .collect();
    let heading = shown
        .iter()
        .map(|&i| table.column_definitions[i].name.to_uppercase())
        .collect();
    let mut lines: Vec<Vec<String>> = vec![heading];
    lines.extend(table.rows.iter().map(|row| {
        shown
            .iter()
            .map(|&i| format_cell(row.cells.get(i)))
            .collect()
    }));
    let widths: Vec<usize> = (0..shown.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines.iter().skip(usize::from(!with_headings)) {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(value, &width)| format!("{value:width$}"))
            .collect();
        text.push_str(padded.join("   ").trim_end());
        text.push('\n');
    }
    text
}

fn format_cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "<none>".into(),
        Some(Value::String(s)) if s.is_empty() => "<none>".into(),
        // What strangers write must not reach into the terminal.
        Some(Value::String(s)) => s
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_formatted_like_kubectl() {
        let table = Table {
            column_definitions: vec![
                Column {
                    name: "Name".into(),
                    priority: 0,
                },
                Column {
                    name: "Users".into(),
                    priority: 1,
                },
                Column {
                    name: "Ready".into(),
                    priority: 0,
                },
            ],
            rows: vec![
                Row {
                    cells: vec!["support".into(), 3.into(), "True".into()],
                    object: Value::Null,
                },
                Row {
                    cells: vec!["it\u{1b}".into(), Value::Null, Value::Null],
                    object: Value::Null,
                },
            ],
            metadata: ListMetadata::default(),
        };
        assert_eq!(
            format_table(&table, false, true),
            "NAME      READY\nsupport   True\nit        <none>\n"
        );
        assert_eq!(
            format_table(&table, true, true),
            "NAME      USERS    READY\nsupport   3        True\nit        <none>   <none>\n"
        );
        assert!(format_table(&table, false, false).starts_with("support"));
    }
}
