//! The templates that come with Emperor.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use vassal_core::{Catalog, CatalogInput, InstanceContext, Source, TemplateSource};

use crate::support::{catalog, instance, site};

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../vassal-templates")
}

pub(crate) fn shipped() -> Arc<Catalog> {
    let files = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let template = |path: PathBuf| TemplateSource {
        name: path.file_stem().unwrap().to_str().unwrap().parse().unwrap(),
        source: Source::new(
            path.display().to_string(),
            fs::read_to_string(path).unwrap(),
        ),
    };
    catalog(CatalogInput {
        templates: files.map(template).collect(),
        ..CatalogInput::default()
    })
}

#[test]
fn all_are_there_and_none_is_broken() {
    let catalog = shipped();
    let names: Vec<_> = catalog
        .templates()
        .map(|info| info.name.to_string())
        .collect();
    let expected = [
        "command", "demo", "django", "granian", "gunicorn", "node", "uvicorn", "uwsgi",
    ];
    assert_eq!(names, expected);
    for info in catalog.templates() {
        assert_eq!(info.problem, None);
        assert!(!info.description.is_empty(), "{}", info.name);
        for variable in info.variables {
            assert!(
                !variable.help.is_empty(),
                "{}: {}",
                info.name,
                variable.name
            );
        }
    }
}

fn check(template: &str, row: &str, expected: &[&str]) {
    let mut site = site(row);
    site.template = Some(template.parse().unwrap());
    let spec = shipped().resolve(&Arc::new(site));
    let spec = spec.unwrap_or_else(|reason| panic!("{template}: {reason}"));
    assert_eq!(
        spec.render(&instance()).unwrap().argv,
        expected,
        "{template}"
    );
}

#[test]
fn each_yields_the_command_it_promises() {
    let app = "vars.app_dir = '/srv/blog'";
    let gunicorn = "python3 -m gunicorn --workers 1 --threads 1 --timeout 30 --max-requests 0 \
                    --keep-alive 75 wsgi:application";
    check("gunicorn", app, &gunicorn.split(' ').collect::<Vec<_>>());
    let more = format!("{app}\nvars.args = ['--log-level', 'debug']");
    let with_args = gunicorn.replace("wsgi:", "--log-level debug wsgi:");
    check("gunicorn", &more, &with_args.split(' ').collect::<Vec<_>>());
    check(
        "uwsgi",
        app,
        &["uwsgi", "--ini", "/run/i/12.7/private/uwsgi.ini"],
    );
    let uvicorn = "python3 -m uvicorn --fd 3 --workers 1 --proxy-headers --forwarded-allow-ips * \
                   --timeout-keep-alive 75 --no-access-log asgi:application";
    check("uvicorn", app, &uvicorn.split(' ').collect::<Vec<_>>());
    let granian = "python3 -m granian --uds /run/i/12.7/s --interface asgi --workers 1 \
                   asgi:application";
    check("granian", app, &granian.split(' ').collect::<Vec<_>>());
    let node = "node --require /run/i/12.7/private/listen.cjs server.js";
    check("node", app, &node.split(' ').collect::<Vec<_>>());
    let command = "vars.program = 'serve'\nvars.args = ['--unix', '{{ socket.path }}']";
    check("command", command, &["serve", "--unix", "/run/i/12.7/s"]);
    let demo = "python3 -I -S /run/i/12.7/private/demo.py";
    check("demo", "", &demo.split(' ').collect::<Vec<_>>());
}

#[test]
fn each_can_be_explained_without_an_instance() {
    let nobody = InstanceContext {
        number: 1,
        dir: "{{ instance.dir }}".into(),
        socket_path: "{{ socket.path }}".into(),
    };
    let rows = [
        ("command", "vars.program = 'serve'"),
        ("demo", ""),
        ("node", "vars.app_dir = '/srv'"),
    ];
    for (template, row) in rows {
        let mut site = site(row);
        site.template = Some(template.parse().unwrap());
        let explained = shipped().explain(&Arc::new(site), &nobody);
        assert!(explained.is_ok(), "{template}: {:?}", explained.err());
    }
}

#[test]
fn a_row_can_t_put_a_line_of_its_own_into_the_ini() {
    let mut row = site("vars.app_dir = \"/srv\\nhook-asap = exec:id\"");
    row.template = Some("uwsgi".parse().unwrap());
    assert!(shipped().resolve(&Arc::new(row)).is_err());
    let mut row = site("vars.app_dir = '/srv'\nvars.options = ['cheaper = 1']");
    row.template = Some("uwsgi".parse().unwrap());
    let spec = shipped().resolve(&Arc::new(row)).unwrap();
    let ini = &spec.render(&instance()).unwrap().files[0].text;
    assert!(
        ini.ends_with("chdir = /srv\nmodule = wsgi:application\ncheaper = 1\n"),
        "{ini}"
    );
}

#[test]
fn the_lines_that_django_keeps_end_the_ini_of_uwsgi_and_mean_nothing_to_others() {
    let resolved = |template: &str, lines: &str| {
        let mut site = site("[vars]\napp_dir = '/srv'\n");
        site.template = Some(template.parse().unwrap());
        site.extra_uwsgi_ini = lines.into();
        shipped().resolve(&Arc::new(site))
    };
    let spec = resolved("uwsgi", "[uwsgi]\r\nworkers = 5\n\n; more\nharakiri = 30\n").unwrap();
    let launch = spec.render(&instance()).unwrap();
    let ini = &launch.files[0].text;
    let lines: Vec<_> = ini.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines.ends_with(&["workers = 5", "harakiri = 30"]), "{ini}");
    assert_ne!(resolved("uwsgi", "").unwrap().revision, spec.revision);

    let refused = resolved("uwsgi", "workers = 5\nenv = SITE_ID=7\n").unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.starts_with("column extra_uwsgi_ini: env SITE_ID is the emperor's own"),
        "{refused}"
    );
    let (with, without) = (resolved("gunicorn", "uid = root"), resolved("gunicorn", ""));
    assert_eq!(with.unwrap().revision, without.unwrap().revision);
}
