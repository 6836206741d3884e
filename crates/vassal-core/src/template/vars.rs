//! `[vars]`: what a template lets a site fill in.

use std::fmt;
use std::sync::Arc;

use super::kind::{Written, type_name};
use super::piece::Origin;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};

/// A variable that a template declares.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    /// Its value, and where that came from; `None`: a site has to give one.
    pub(crate) value: Option<(VarValue, Origin)>,
    /// What it is for.
    pub(crate) help: Arc<str>,
    /// Where it was declared.
    pub(crate) declared: Origin,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum VarValue {
    /// A text; names in braces are rendered.
    Text(Arc<str>),
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// Texts; alone as an element of `command` it becomes as many arguments.
    List(Vec<Arc<str>>),
}

/// What a layer says of a variable.
#[derive(Debug, Clone)]
pub(crate) enum VarEntry {
    /// There is such a variable.
    Declared(Variable),
    /// It has this value.
    Assigned(Assignment),
}

/// A value that a layer gives a variable which it doesn't declare itself.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) value: VarValue,
    pub(crate) origin: Origin,
    /// Where the variable is named.
    pub(crate) name: Place,
}

const KEYS: [&str; 3] = ["required", "default", "help"];

impl fmt::Display for VarValue {
    /// As in TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => toml::Value::from(text.as_ref()).fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => toml::Value::from(*number).fmt(f),
            Self::Bool(yes) => yes.fmt(f),
            Self::List(texts) => {
                let texts = texts.iter().map(|text| toml::Value::from(text.as_ref()));
                toml::Value::Array(texts.collect()).fmt(f)
            }
        }
    }
}

impl VarValue {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a fraction",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list of strings",
        }
    }

    /// Every text in it.
    pub(crate) fn texts(&self) -> &[Arc<str>] {
        match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
            Self::Integer(_) | Self::Float(_) | Self::Bool(_) => &[],
        }
    }

    /// The same where the type is; a whole number is a fraction too.
    fn into_type_of(self, other: &Self) -> Option<Self> {
        match (self, other) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "nobody counts so high in fractions"
            )]
            (Self::Integer(number), Self::Float(_)) => Some(Self::Float(number as f64)),
            (value, other) => {
                let same = std::mem::discriminant(&value) == std::mem::discriminant(other);
                same.then_some(value)
            }
        }
    }

    fn read(written: &Written<'_>) -> Result<Self, Diagnostic> {
        let due = "a string, a number, true, false or a list of strings";
        if let Some(text) = written.value.as_str() {
            return Ok(Self::Text(text.into()));
        }
        if written.value.is_integer() {
            let too_large = || written.wrong("this number is too large");
            return written.integer().map(Self::Integer).ok_or_else(too_large);
        }
        if let Some(float) = written.value.as_float() {
            let float = float.as_str().parse::<f64>().ok();
            let finite = float.filter(|number| number.is_finite());
            return finite
                .map(Self::Float)
                .ok_or_else(|| written.wrong("this is no finite number"));
        }
        if let Some(yes) = written.value.as_bool() {
            return Ok(Self::Bool(yes));
        }
        let items = written.list(due)?;
        let texts = items
            .iter()
            .map(|item| item.text("a string").map(Arc::from));
        texts.collect::<Result<_, _>>().map(Self::List)
    }
}

impl Variable {
    /// Declared by nothing but its value.
    pub(crate) fn with_default(assignment: &Assignment) -> Self {
        Self {
            value: Some((assignment.value.clone(), assignment.origin.clone())),
            help: Arc::default(),
            declared: assignment.origin.clone(),
        }
    }

    /// Gives it a value, which has to be of the type of the one it had.
    pub(crate) fn assign(&mut self, name: &str, assignment: &Assignment) -> Result<(), Diagnostic> {
        let (value, origin) = (assignment.value.clone(), assignment.origin.clone());
        let value = match &self.value {
            None => value,
            Some((had, _)) => {
                let label = format!("this is {}", value.type_name());
                value.into_type_of(had).ok_or_else(|| {
                    let title = format!("`vars.{name}` is {}", had.type_name());
                    Diagnostic::new(origin.place.clone(), title).with_label(label)
                })?
            }
        };
        self.value = Some((value, origin));
        Ok(())
    }

    /// What to say of a site that doesn't give a value.
    pub(crate) fn missing(&self, name: &str) -> Diagnostic {
        let meaning = match &*self.help {
            "" => String::new(),
            help => format!(": {help}"),
        };
        Diagnostic::new(
            self.declared.place.clone(),
            format!("the site has to fill in `vars.{name}`{meaning}"),
        )
        .with_label("declared here without a default")
        .with_help(format!(
            "add a line `vars.{name} = ...` to the row's extra_config"
        ))
    }
}

/// Reads what a layer says of the variable that is named at `name`.
pub(crate) fn read(
    name: Place,
    written: &Written<'_>,
    found: &mut Diagnostics,
) -> Option<VarEntry> {
    if written.value.is_table() {
        return declaration(written, found).map(VarEntry::Declared);
    }
    match VarValue::read(written) {
        Ok(value) => Some(VarEntry::Assigned(Assignment {
            value,
            origin: written.origin.clone(),
            name,
        })),
        Err(diagnostic) => {
            found.push(diagnostic);
            None
        }
    }
}

fn declaration(written: &Written<'_>, found: &mut Diagnostics) -> Option<Variable> {
    let before = found.len();
    let mut variable = Variable {
        value: None,
        help: Arc::default(),
        declared: written.origin.clone(),
    };
    let mut required = None;
    for (key, value) in written.value.as_table()? {
        let value = Written::new(value, &written.origin);
        let read = match key.get_ref().as_ref() {
            "default" => VarValue::read(&value).map(|default| {
                variable.value = Some((default, value.origin.clone()));
            }),
            "help" => value
                .text("a string")
                .map(|help| variable.help = help.into()),
            "required" => value
                .value
                .as_bool()
                .map(|yes| required = Some(yes))
                .ok_or_else(|| value.wrong_type("true or false")),
            name => {
                let place = written.origin.place.source().place(key.span());
                Err(Diagnostic::unknown_name(place, "key", name, KEYS))
            }
        };
        found.extend(read.err());
    }
    if let Some(contradiction) = contradiction(written, required, variable.value.is_some()) {
        found.push(contradiction);
    }
    (found.len() == before).then_some(variable)
}

fn contradiction(
    written: &Written<'_>,
    required: Option<bool>,
    has_default: bool,
) -> Option<Diagnostic> {
    match (required, has_default) {
        (Some(true), true) => Some(written.wrong("a required variable has no default")),
        (Some(false), false) => Some(written.wrong("a variable that isn't required has a default")),
        (None, _) | (Some(true), false) | (Some(false), true) => None,
    }
}

/// Says that only a plain value can stand here.
pub(crate) fn not_a_declaration(written: &Written<'_>) -> Diagnostic {
    let label = format!("this is {}", type_name(written.value));
    written
        .wrong("a row gives variables their values; templates declare them")
        .with_label(label)
}
