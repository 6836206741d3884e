//! Rendering what one instance is started with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::Value;
use site_model::HostPattern;

use super::engine::Engine;
use super::names::{InstanceScope, Scope, table};
use super::text::{Bound, Text};
use super::uwsgi_options;
use crate::diagnostic::{Diagnostic, Diagnostics, Place};
use crate::launch::{InstanceContext, Launch, Reach, RenderError, RenderedFile};
use crate::settings::ListenMode;
use crate::spec::VassalSpec;
use crate::template::{Draft, Piece, ReachPieces, VarValue};

/// The descriptor of an inherited socket, the first of `sd_listen_fds(3)`.
const SOCKET_FD: u32 = 3;

impl VassalSpec {
    /// What one instance is started with.
    pub fn render(&self, instance: &InstanceContext) -> Result<Launch, RenderError> {
        let draft = self.recipe.0.draft_of(&self.site)?;
        render(self, &draft, instance)
    }
}

/// Renders everything for one instance of a specification that was made from a draft.
pub(super) fn render(
    spec: &VassalSpec,
    draft: &Draft,
    instance: &InstanceContext,
) -> Result<Launch, RenderError> {
    let engine = &spec.recipe.0.engine;
    let mut found = Diagnostics::default();
    let vars: Vec<_> = draft.vars.keys().map(AsRef::as_ref).collect();
    let files: Vec<_> = draft.files.keys().map(AsRef::as_ref).collect();
    let base = base_values(spec, instance);
    let values = rendered_vars(engine, draft, &table(base.clone()), &mut found);
    let paths = file_paths(draft, &instance.dir);
    let renderer = Renderer {
        engine,
        draft,
        private: &instance.dir,
        scope: Scope {
            vars: Some(&vars),
            files: Some(&files),
            instance: InstanceScope::Known,
        },
        values: table(base.into_iter().chain([
            ("vars", Value::from_pairs(values.clone())),
            ("files", Value::from_pairs(paths)),
        ])),
        vars: values,
    };
    let launch = renderer.launch(&mut found);
    if launch.argv.is_empty() && found.is_empty() {
        return Err(RenderError::NoCommand);
    }
    Ok(found.or_else_ok(launch)?)
}

/// An instance as it might be, to try a specification with.
pub(super) fn trial_instance() -> InstanceContext {
    InstanceContext {
        number: 1,
        dir: PathBuf::from("/run/emperor/i/1.1/private"),
        socket_path: PathBuf::from("/run/emperor/i/1.1/sock/s"),
    }
}

/// `site`
pub(super) fn site_values(spec: &VassalSpec) -> Value {
    let canonical = HostPattern::Exact(spec.hosts.canonical.clone()).to_string();
    let aliases = spec.hosts.aliases.iter();
    let hosts = aliases.map(|alias| Value::from(alias.pattern.to_string()));
    let hosts: Vec<_> = std::iter::once(Value::from(canonical.clone()))
        .chain(hosts)
        .collect();
    let options: Vec<_> = uwsgi_options::lines(&spec.site).map(Value::from).collect();
    if spec.site.id.is_pool() {
        return table([("uwsgi_options", Value::from(options))]);
    }
    table([
        ("id", Value::from(spec.site.id.get())),
        ("slug", Value::from(spec.site.slug.as_str())),
        ("domain", Value::from(canonical)),
        ("hosts", Value::from(hosts)),
        ("uwsgi_options", Value::from(options)),
    ])
}

/// All but `vars` and `files`.
fn base_values(spec: &VassalSpec, instance: &InstanceContext) -> Vec<(&'static str, Value)> {
    let path = ("path", path_value(&instance.socket_path));
    let socket = match spec.listen {
        ListenMode::Fd => table([("fd", Value::from(SOCKET_FD)), path]),
        ListenMode::Path => table([path]),
    };
    let instance = table([
        ("number", Value::from(instance.number)),
        ("dir", path_value(&instance.dir)),
    ]);
    let site = site_values(spec);
    vec![("site", site), ("socket", socket), ("instance", instance)]
}

fn path_value(path: &Path) -> Value {
    Value::from(path.to_string_lossy().into_owned())
}

fn file_paths(draft: &Draft, dir: &Path) -> Vec<(Arc<str>, Value)> {
    let names = draft.files.keys();
    names
        .map(|name| (name.clone(), path_value(&dir.join(&**name))))
        .collect()
}

/// The variables, with the names in their own texts filled in.
fn rendered_vars(
    engine: &Engine,
    draft: &Draft,
    base: &Value,
    found: &mut Diagnostics,
) -> Vec<(Arc<str>, Value)> {
    let mut rendered = Vec::new();
    for (name, variable) in &*draft.vars {
        let Some((value, origin)) = &variable.value else {
            continue;
        };
        let mut text = |text: &str| {
            let text = Text {
                text,
                place: &origin.place,
            };
            let rendered = engine.render(text, base, &Scope::default(), Bound::Argument);
            rendered.unwrap_or_else(|wrong| {
                found.push(wrong);
                String::new()
            })
        };
        let value = match value {
            VarValue::Text(value) => Value::from(text(value)),
            VarValue::List(values) => values.iter().map(|v| Value::from(text(v))).collect(),
            other => plain_value(other),
        };
        rendered.push((Arc::clone(name), value));
    }
    rendered
}

/// A variable as it stands there.
pub(super) fn plain_value(value: &VarValue) -> Value {
    match value {
        VarValue::Text(text) => Value::from(text.as_ref()),
        VarValue::Integer(number) => Value::from(*number),
        VarValue::Float(number) => Value::from(*number),
        VarValue::Bool(yes) => Value::from(*yes),
        VarValue::List(texts) => texts
            .iter()
            .map(|text| Value::from(text.as_ref()))
            .collect(),
    }
}

struct Renderer<'a> {
    engine: &'a Engine,
    draft: &'a Draft,
    /// The instance's private folder.
    private: &'a Path,
    scope: Scope<'a>,
    values: Value,
    vars: Vec<(Arc<str>, Value)>,
}

impl Renderer<'_> {
    fn launch(&self, found: &mut Diagnostics) -> Launch {
        let mut take = |result: Result<(), Diagnostic>| found.extend(result.err());
        let mut launch = Launch {
            argv: Vec::new(),
            working_dir: None,
            env: Vec::new(),
            files: Vec::new(),
            reach: Reach::default(),
        };
        for (at, piece) in self.draft.command.iter().enumerate() {
            take(self.arguments(piece, at, &mut launch.argv));
        }
        for (name, piece) in &*self.draft.env {
            let value = self.argument(piece, name.len() + 1);
            take(value.map(|value| launch.env.push((name.to_string(), value))));
        }
        for (name, piece) in &*self.draft.files {
            let text = self.text(piece, Bound::File);
            let name = name.to_string();
            take(text.map(|text| launch.files.push(RenderedFile { name, text })));
        }
        if let Some(piece) = &self.draft.working_dir {
            let folder = self.path(piece, "a working folder is an absolute path");
            take(folder.map(|folder| launch.working_dir = Some(folder)));
        }
        let ReachPieces {
            writable,
            readable,
            inaccessible,
        } = &self.draft.reach;
        for (pieces, paths) in [
            (writable, &mut launch.reach.writable),
            (readable, &mut launch.reach.readable),
            (inaccessible, &mut launch.reach.inaccessible),
        ] {
            for piece in &**pieces {
                let path = self.path(piece, "a path here is absolute");
                take(path.map(|path| paths.push(path)));
            }
        }
        launch
    }

    /// One element of `command`: one argument, or as many as the list has that it names.
    fn arguments(
        &self,
        piece: &Piece,
        at: usize,
        argv: &mut Vec<String>,
    ) -> Result<(), Diagnostic> {
        if let Some(items) = self.list(&piece.text) {
            let before = argv.len();
            argv.extend(items);
            let added = argv[before..].iter();
            return added
                .map(AsRef::as_ref)
                .try_for_each(|text| no_nul(text, &piece.origin.place));
        }
        let argument = self.argument(piece, 0)?;
        if at == 0 && argument.trim().is_empty() {
            let title = "the program's name is empty";
            return Err(Diagnostic::new(piece.origin.place.clone(), title));
        }
        argv.push(argument);
        Ok(())
    }

    /// The items of a list variable that stands alone between braces.
    fn list(&self, text: &str) -> Option<Vec<String>> {
        let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let name = inner.trim().strip_prefix("vars.")?;
        let (_, value) = self.vars.iter().find(|(known, _)| **known == *name)?;
        let items = value.as_str().is_none().then(|| value.try_iter().ok())??;
        Some(items.map(|item| item.to_string()).collect())
    }

    /// A text that the kernel passes on, after `taken` bytes.
    fn argument(&self, piece: &Piece, taken: usize) -> Result<String, Diagnostic> {
        let text = self.text(piece, Bound::Argument)?;
        let place = &piece.origin.place;
        no_nul(&text, place)?;
        if text.len() + taken > Bound::Argument.bytes() {
            return Err(Diagnostic::new(
                place.clone(),
                "this is longer than 128 KiB",
            ));
        }
        Ok(text)
    }

    /// An absolute path; `rule` says so to whoever wrote another.
    fn path(&self, piece: &Piece, rule: &str) -> Result<PathBuf, Diagnostic> {
        let path = self.argument(piece, 0)?;
        // What stands for the private folder in an explanation need not look like a path.
        let is_private = Path::new(&path).starts_with(self.private);
        if !path.starts_with('/') && !is_private {
            let title = format!("{rule}; this is `{path}`");
            return Err(Diagnostic::new(piece.origin.place.clone(), title));
        }
        Ok(PathBuf::from(path))
    }

    fn text(&self, piece: &Piece, bound: Bound) -> Result<String, Diagnostic> {
        let text = Text {
            text: &piece.text,
            place: &piece.origin.place,
        };
        self.engine.render(text, &self.values, &self.scope, bound)
    }
}

fn no_nul(text: &str, place: &Place) -> Result<(), Diagnostic> {
    if text.contains('\0') {
        let title = "a NUL byte can't be passed to a program";
        return Err(Diagnostic::new(place.clone(), title));
    }
    Ok(())
}
