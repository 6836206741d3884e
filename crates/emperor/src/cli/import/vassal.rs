//! From a vassal's options to a row.

use std::path::{Path, PathBuf};

use site_model::SiteId;
use vassal_core::resolve::uwsgi_line_refusal;
use vassal_core::template::RESERVED_ENV;

use super::hosts::Hosts;
use super::note::{Fate, Note, Spot};
use super::options::{Goes, goes};
use super::row::{Overlay, Row};
use super::slug;
use super::vassal_file::{Entry, Machine, VassalFile};

/// The template that the rows are for.
const TEMPLATE: &str = "uwsgi";
/// Options that name an application, besides those of the template.
const APPLICATIONS: &[&str] = &[
    "mount",
    "pymodule-alias",
    "paste",
    "ini-paste",
    "pecan",
    "pyrun",
];

/// What was read so far.
struct Vassal<'a> {
    path: &'a Path,
    machine: &'a Machine<'a>,
    row: Row,
    overlay: Overlay,
    notes: Vec<Note>,
    hosts: Hosts,
    chdir: Option<String>,
    late_dir: Option<String>,
    python_path: Option<String>,
    module: Option<String>,
    wsgi_file: Option<String>,
    plugins: Vec<String>,
    options: Vec<String>,
    group: Option<(Spot, String)>,
    idle: Option<u64>,
    cheap: Option<Spot>,
}

/// Makes the row of a file, and tells what isn't in it. `None`: it became none.
pub(super) fn row(
    path: &Path,
    file: VassalFile,
    machine: &Machine<'_>,
    enabled: bool,
) -> (Option<Row>, Vec<Note>) {
    let mut vassal = Vassal {
        path,
        machine,
        row: Row {
            file: path.display().to_string(),
            enabled,
            template: TEMPLATE,
            ..Row::default()
        },
        overlay: Overlay::default(),
        notes: file.notes,
        hosts: Hosts::default(),
        chdir: None,
        late_dir: None,
        python_path: None,
        module: None,
        wsgi_file: None,
        plugins: Vec::new(),
        options: Vec::new(),
        group: None,
        idle: None,
        cheap: None,
    };
    for entry in file.entries {
        vassal.take(&entry);
    }
    let whole = vassal.finish();
    (whole.then_some(vassal.row), vassal.notes)
}

impl Vassal<'_> {
    fn note(&mut self, entry: &Entry, fate: Fate, detail: impl Into<String>) {
        let note = Note::new(&entry.spot, fate, &entry.key, detail);
        self.notes.push(note);
    }

    fn note_file(&mut self, fate: Fate, detail: impl Into<String>) {
        let spot = Spot {
            file: self.row.file.clone(),
            line: None,
        };
        self.notes.push(Note::new(&spot, fate, "", detail));
    }

    fn take(&mut self, entry: &Entry) {
        if let Err(why) = self.try_take(entry) {
            self.note(entry, Fate::Lost, why);
        }
    }

    fn try_take(&mut self, entry: &Entry) -> Result<(), String> {
        let value = entry.value.as_str();
        if value.contains(char::is_control) {
            return Err("it has control characters".to_owned());
        }
        match goes(&entry.key) {
            Goes::AppDir => self.chdir = Some(given(value)?),
            Goes::LateDir => self.late_dir = Some(given(value)?),
            Goes::Module => self.module = Some(given(value)?),
            Goes::WsgiFile => self.wsgi_file = Some(given(value)?),
            Goes::Virtualenv => self.overlay.text("virtualenv", &given(value)?),
            Goes::Number(name) => {
                let number: u32 = value.parse().map_err(|_| "a whole number is due")?;
                self.overlay.vars.insert(name.to_owned(), number.into());
            }
            Goes::Plugins => self.plugins.push(given(value)?),
            Goes::User => self.row.run_as = self.user(value)?,
            Goes::Group => self.group = Some((entry.spot.clone(), given(value)?)),
            Goes::Idle => {
                let seconds = value.parse().map_err(|_| "whole seconds are due")?;
                self.idle = Some(seconds);
            }
            Goes::IsCheap if is_no(value) => {}
            Goes::IsCheap => self.cheap = Some(entry.spot.clone()),
            Goes::Env => self.env(entry)?,
            Goes::Domain => self.hosts.name(value)?,
            Goes::Subscription => self.hosts.subscribe(&entry.key, value)?,
            Goes::Dropped(why) => self.note(entry, Fate::Dropped, why),
            Goes::Lost(instead) => return Err(instead.to_owned()),
            // Both were seen to when the file was read.
            Goes::Placeholder | Goes::Block => {}
            Goes::OptionLine => self.option(&entry.key, value)?,
        }
        Ok(())
    }

    fn user(&self, value: &str) -> Result<String, String> {
        let value = given(value)?;
        let Ok(uid) = value.parse::<u32>() else {
            return Ok(value);
        };
        let account = (self.machine.account)(uid);
        account.ok_or_else(|| {
            format!(
                "uid {uid} has no account here; make one and give its name to run_as, or 'auto'"
            )
        })
    }

    fn env(&mut self, entry: &Entry) -> Result<(), String> {
        let (name, value) = entry.value.split_once('=').unwrap_or((&entry.value, ""));
        let name = name.trim();
        match name {
            "SITE_ID" => {
                let id = value.trim().parse::<SiteId>();
                let id = id.map_err(|_| "SITE_ID: a whole number above 0 is due")?;
                self.row.id = Some(id.get());
            }
            _ if is_reserved(name) => {
                self.note(
                    entry,
                    Fate::Dropped,
                    format!("{name} is the emperor's to give"),
                );
            }
            _ if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic()) => {
                return Err("it names no variable".to_owned());
            }
            _ => {
                self.overlay.env.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), String> {
        if value.ends_with('\\') {
            return Err("it ends with a backslash, which uWSGI takes as it is".to_owned());
        }
        let value = if value.is_empty() { "true" } else { value };
        let line = format!("{key} = {}", value.replace('%', "%%"));
        if let Some(why) = uwsgi_line_refusal(&line) {
            // It begins with the name, which is told already.
            let why = why.split_once("can't be set here: ");
            let why = why.map_or("it can't be in a row", |(_, why)| why);
            return Err(why.to_owned());
        }
        if key == "pythonpath" && self.python_path.is_none() {
            self.python_path = Some(value.to_owned());
        }
        self.options.push(line);
        Ok(())
    }

    /// Puts together what several lines say together. False: it is no row.
    fn finish(&mut self) -> bool {
        self.finish_group();
        self.finish_idle();
        self.finish_hosts();
        if !self.plugins.is_empty() {
            self.overlay.text("plugins", &self.plugins.join(","));
        }
        let called = self.finish_slug();
        let applied = self.finish_application();
        self.overlay.options(&self.options);
        match std::mem::take(&mut self.overlay).render() {
            Ok(text) => self.row.extra_config = text,
            Err(error) => {
                self.note_file(Fate::Failed, error.to_string());
                return false;
            }
        }
        called && applied
    }

    fn finish_slug(&mut self) -> bool {
        let name = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let Some(slug) = slug::from_name(&name) else {
            self.note_file(
                Fate::Failed,
                "no letter or digit in its name to make a slug of; rename it",
            );
            return false;
        };
        if *slug.as_str() != *name {
            let detail = format!("the slug is {slug}, since it is a DNS label");
            self.note_file(Fate::Changed, detail);
        }
        self.row.slug = slug.to_string();
        true
    }

    fn finish_application(&mut self) -> bool {
        let is_named = |line: &String| {
            let key = line.split(' ').next().unwrap_or_default();
            APPLICATIONS.contains(&key)
        };
        let elsewhere = self.wsgi_file.is_some() || self.options.iter().any(is_named);
        if self.module.is_none() && !elsewhere {
            let detail = "it names no WSGI application (module, wsgi-file or mount); if it is of another \
                          language, give it the template command, or one of your own";
            self.note_file(Fate::Failed, detail);
            return false;
        }
        let app_dir = self.app_dir();
        self.overlay.text("app_dir", &app_dir.to_string_lossy());
        self.overlay
            .text("module", self.module.as_deref().unwrap_or_default());
        if let Some(file) = self.wsgi_file.clone() {
            self.options
                .insert(0, format!("wsgi-file = {}", file.replace('%', "%%")));
        }
        true
    }

    /// The folder that the worker is in while it loads the application.
    fn app_dir(&mut self) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        if let Some(chdir) = &self.chdir {
            if let Some(late) = &self.late_dir {
                self.options
                    .push(format!("chdir2 = {}", late.replace('%', "%%")));
            }
            return folder.join(chdir);
        }
        let of_file = self.wsgi_file.as_deref().map(Path::new);
        let of_file = of_file
            .filter(|file| file.is_absolute())
            .and_then(Path::parent);
        let named = self.late_dir.as_deref().or(self.python_path.as_deref());
        let app_dir = of_file.or(named.map(Path::new));
        let app_dir = app_dir.map_or_else(|| folder.clone(), |app_dir| folder.join(app_dir));
        let detail = format!("it has no chdir; app_dir is {}", app_dir.display());
        self.note_file(Fate::Changed, detail);
        app_dir
    }

    fn finish_group(&mut self) {
        let Some((spot, group)) = self.group.take() else {
            return;
        };
        let note = if group == self.row.run_as {
            let detail = "a site runs with the groups of its account";
            Note::new(&spot, Fate::Dropped, "gid", detail)
        } else {
            let detail = "a site runs with the groups of its account; make the account a member";
            Note::new(&spot, Fate::Changed, "gid", detail)
        };
        self.notes.push(note);
    }

    fn finish_idle(&mut self) {
        let cheap = self.cheap.take();
        self.overlay.stop_after = self.idle.filter(|seconds| *seconds > 0);
        if let (Some(spot), None) = (cheap, self.overlay.stop_after) {
            let detail = "it begins awake; with idle.stop_after it begins asleep, and sleeps again";
            self.notes
                .push(Note::new(&spot, Fate::Changed, "cheap", detail));
        }
    }

    fn finish_hosts(&mut self) {
        let (domain, aliases) = std::mem::take(&mut self.hosts).split();
        match domain {
            Some(domain) => self.row.domain = domain.to_string(),
            None => self.note_file(
                Fate::Changed,
                "it names no host; domains.rewrite_format makes one of the slug, until `emperor site set \
                 SITE --domain HOST` gives it one",
            ),
        }
        self.row.aliases = aliases.iter().map(ToString::to_string).collect();
    }
}

fn given(value: &str) -> Result<String, String> {
    if value.is_empty() {
        return Err("it has no value".to_owned());
    }
    Ok(value.to_owned())
}

fn is_no(value: &str) -> bool {
    ["false", "0", "no", "off"].contains(&value)
}

fn is_reserved(name: &str) -> bool {
    RESERVED_ENV
        .iter()
        .any(|reserved| match reserved.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == *reserved,
        })
}
