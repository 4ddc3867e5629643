//! What a resource is called, what can be done with it and how it is shown: discovery, `OpenAPI` and tables are made from it.

use serde_json::Value;

/// A resource as clients see it.
#[derive(Debug, Clone, Default)]
pub struct ResourceDescription {
    /// The name in paths and rules, as in `conversations`.
    pub plural: String,
    /// As in `conversation`.
    pub singular: String,
    /// As in `Conversation`; lists are of the kind `ConversationList`.
    pub kind: String,
    /// What kubectl takes for it, as in `tgconv`.
    pub short_names: Vec<String>,
    /// The groups of resources that it is shown with, as in `kubectl get all`.
    pub categories: Vec<String>,
    /// What can be done with it.
    pub verbs: Vec<ResourceVerb>,
    /// What lies under its objects.
    pub subresources: Vec<SubresourceDescription>,
    /// What objects can be selected by, beside `metadata.name` and `metadata.namespace`.
    pub selectable_fields: Vec<SelectableField>,
    /// The columns of tables between `NAME` and `AGE`.
    pub columns: Vec<TableColumn>,
    /// One sentence on the kind, for `kubectl explain`.
    pub summary: String,
    /// The `OpenAPI` v3 schemas of the properties `spec` and `status`, by name: `{"spec": {"type": "object", "properties": …}}`.
    pub properties: Value,
    /// Whether a client must give a new object a name, or let one be generated. If not, the resource names what lacks a name.
    pub requires_name: bool,
}

/// What can be done with objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Kubernetes' own words
pub enum ResourceVerb {
    Get,
    List,
    Watch,
    Create,
    Delete,
    DeleteCollection,
}

/// What can be done with a subresource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Kubernetes' own words
pub enum SubresourceVerb {
    Get,
    Create,
}

/// What lies under the objects of a resource, with rights of its own.
#[derive(Debug, Clone, Default)]
pub struct SubresourceDescription {
    /// As in `transcript`.
    pub name: String,
    /// The kind of what is read, and of what is sent to it.
    pub kind: String,
    /// What can be done with it.
    pub verbs: Vec<SubresourceVerb>,
    /// One sentence on it, for `OpenAPI`.
    pub summary: String,
    /// The `OpenAPI` v3 schemas of its properties beside `apiVersion`, `kind` and `metadata`, by name.
    pub properties: Value,
}

/// A field that objects can be selected by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectableField {
    /// Its path, as in `spec.user.id`. Strings, numbers and booleans are compared as they are written; an absent one is the empty string.
    pub path: String,
    /// Whether it can change while the object is there: an object that no longer matches is then told to watches as deleted.
    pub is_mutable: bool,
}

/// A column of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableColumn {
    /// The heading, as in `Connector`.
    pub name: String,
    /// What its cells are.
    pub column_type: ColumnType,
    /// One sentence on it.
    pub description: String,
    /// 0: always shown; 1: only by `-o wide`.
    pub priority: u8,
    /// The field that it shows, as in `spec.user.id`; an absent one is shown as `<none>`.
    pub path: String,
}

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    #[default]
    String,
    /// A whole number.
    Integer,
    /// A time in RFC 3339, shown as how long ago it was.
    Date,
    /// `true` or `false`.
    Boolean,
}

impl SelectableField {
    /// A field that stays the same while the object is there.
    pub fn immutable(path: &str) -> Self {
        Self {
            path: path.into(),
            is_mutable: false,
        }
    }

    /// A field that can change.
    pub fn mutable(path: &str) -> Self {
        Self {
            path: path.into(),
            is_mutable: true,
        }
    }
}

impl TableColumn {
    /// A column that is always shown.
    pub fn new(name: &str, column_type: ColumnType, path: &str, description: &str) -> Self {
        Self {
            name: name.into(),
            column_type,
            description: description.into(),
            priority: 0,
            path: path.into(),
        }
    }

    /// The same column, shown only by `-o wide`.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }
}

impl ResourceDescription {
    /// Whether objects can be treated so.
    pub fn allows(&self, verb: ResourceVerb) -> bool {
        self.verbs.contains(&verb)
    }

    /// The subresource of this name.
    pub fn subresource(&self, name: &str) -> Option<&SubresourceDescription> {
        self.subresources.iter().find(|one| one.name == name)
    }
}

impl ResourceVerb {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

impl SubresourceVerb {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
        }
    }
}
