//! Whole vassals.

use std::io;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use super::vassal_file::Machine;
use super::{Imported, import, note};

/// A site of a Django project, as it is in many `/etc/uwsgi/vassals`.
const DJANGO: &str = "\
; the wiki
[uwsgi]
base = /srv/wiki
socket = /run/uwsgi/%n.sock
chmod-socket = 660
master = true
vacuum
chdir = %(base)/src
home = %(base)/venv
module = wiki.wsgi:application
env = SITE_ID=7
env = DJANGO_SETTINGS_MODULE=wiki.settings
env = SECRET_KEY=it's {{ \"quoted\" }}
processes = 4
threads = 2
harakiri = 60
max-requests = 500
uid = 33
gid = www-data
idle = 600
die-on-idle = true
buffer-size = 32768
cheaper = 1
static_map = /static=%(base)/static
logto = /var/log/uwsgi/%n.log
log-format = %(method) %(uri)
subscribe-to = /run/fastrouter.sock:wiki.example.com
subscribe2 = server=127.0.0.1:4040,key=www.wiki.example.com:80,weight=2
attach-daemon = /srv/wiki/venv/bin/celery worker
touch-reload = %p
hook-post-app = exec:curl http://localhost/
secret-option = @(/etc/secret)
";

/// What django-multisite-plus has `emperor_pg` give to its emperor.
const PLUS: &str = "\
[uwsgi]
env = SITE_ID=3
socket = /run/sockets/0cc175b9c0f1b6a831c399e269772661.sock
module = wsgi
master = true
workers = 3
max-requests = 500
harakiri = 120
lazy-apps = true
enable-threads = true
chdir = /app
vacuum = true
cheaper-algo = busyness
cheaper-initial = 1
workers = 5
";

fn imported(files: &[(&str, &str)]) -> Imported {
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        let text = found.map(|(_, text)| (*text).to_owned());
        text.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let machine = Machine {
        read: &read,
        variable: &|_| None,
        account: &|uid| (uid == 33).then(|| "www-data".to_owned()),
    };
    let paths: Vec<_> = files.iter().map(|(name, _)| PathBuf::from(name)).collect();
    import(&paths, &machine, true)
}

fn check(text: &str, words: &[&str]) {
    let imported = imported(&[("/v/site.ini", &format!("[uwsgi]\n{text}"))]);
    let all = imported.sql + &note::text(&imported.notes);
    for word in words {
        assert!(all.contains(word), "{text:?} lacks {word:?}:\n{all}");
    }
}

#[test]
fn a_django_site_becomes_a_row() {
    let imported = imported(&[("/etc/uwsgi/vassals/Wiki.example.ini", DJANGO)]);
    assert_snapshot!(imported.sql);
    assert_snapshot!(note::text(&imported.notes));
}

#[test]
fn a_vassal_of_emperor_pg_becomes_a_row() {
    let imported = imported(&[("/v/0cc175b9c0f1b6a831c399e269772661.ini", PLUS)]);
    assert_snapshot!(imported.sql);
    assert_snapshot!(note::text(&imported.notes));
}

#[test]
fn what_is_told_has_no_value_of_the_environment() {
    let text = "[uwsgi]\nmodule = a\nenv = PASSWORD=hunter2\nenv = EMPEROR_KEY=hunter2\n\
                env = A B=hunter2\nenv = X=hunter2 $(NOPE)\nattach-daemon = x hunter2\n\
                secret = hunter2 \\\nenv = SITE_ID=hunter2\nsubscribe-to = hunter2";
    let imported = imported(&[("/v/a.ini", text)]);
    let told = note::text(&imported.notes);
    assert!(!told.contains("hunter2"), "{told}");
    assert!(
        told.contains("/v/a.ini:4: env: not needed: EMPEROR_KEY"),
        "{told}"
    );
}

#[test]
fn an_application_is_found_in_several_forms() {
    check(
        "wsgi-file = /srv/a/app.py",
        &[
            "app_dir = \"/srv/a\"",
            "wsgi-file = /srv/a/app.py",
            "module = \"\"",
        ],
    );
    check(
        "chdir = app\nwsgi = m:app",
        &["app_dir = \"/v/app\"", "module = \"m:app\""],
    );
    check("module = m", &["app_dir = \"/v\"", "no chdir"]);
    check(
        "module = m\nchdir2 = /srv/late",
        &["app_dir = \"/srv/late\""],
    );
    check("mount = /=app.py\nchdir = /srv", &["mount = /=app.py"]);
    check(
        "psgi = app.pl",
        &["/v/site.ini: not imported: it names no WSGI application"],
    );
}

#[test]
fn what_can_not_be_in_a_row_is_told_with_what_to_do() {
    for (line, word) in [
        (
            "workers = many",
            "site.ini:3: workers: not carried over: a whole number is due",
        ),
        (
            "uid = 4711",
            "site.ini:3: uid: not carried over: uid 4711 has no account",
        ),
        ("cron = 0 0 -1 -1 -1 x", "systemd"),
        ("touch-reload = /x", "emperor reload"),
        ("plugin-dir = /x", "the template's to say"),
        ("chroot = /x", "[sandbox]"),
        ("http = :80", "not needed: the router takes HTTP"),
        (
            "gid = staff",
            "changed: a site runs with the groups of its account",
        ),
        ("cheap", "idle.stop_after"),
    ] {
        check(&format!("module = m\n{line}"), &[word]);
    }
}

#[test]
fn a_file_that_can_not_be_read_leaves_the_others_alone() {
    let mut files = vec![("/v/a.ini", "[uwsgi]\nmodule = m\nini = none.ini")];
    let imported = imported(&files);
    assert_eq!(imported.sites.len(), 1);
    assert!(note::text(&imported.notes).contains("could not read /v/none.ini"));
    files.push(("/v/A.ini", "[uwsgi]\nmodule = m"));
    let imported = super::tests::imported(&files);
    assert_eq!(imported.sites.len(), 1);
    assert!(
        note::text(&imported.notes)
            .contains("/v/A.ini: not imported: /v/a.ini has the slug a already")
    );
}

#[test]
fn a_row_that_would_be_refused_is_none() {
    check(
        "module = m\nuid = root",
        &["/v/site.ini: not imported: ", "allow_root"],
    );
}
