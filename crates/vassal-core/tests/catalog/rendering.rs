//! What instances are started with.

use std::path::PathBuf;
use std::sync::Arc;

use vassal_core::spec::RenderError;
use vassal_core::{InstanceContext, ListenMode, Want};

use crate::support::{APP, instance, launch, resolve};

fn check(element: &str, row: &str, expected: &[&str]) {
    let template = format!(
        "listen = '{{{{ vars.listen }}}}'\ncommand = ['run', {element}]\n\
         vars.listen = 'fd'\nvars.name = 'n'\nvars.count = 3\nvars.ratio = 0.5\nvars.on = true\n\
         vars.list = ['a', 'b']\nvars.folder = '{{{{ instance.dir }}}}/{{{{ site.slug }}}}'\n\
         [files]\n'x.ini' = ''\n"
    );
    let argv = launch(&template, row).argv;
    assert_eq!(argv[1..], *expected, "{element}");
}

#[test]
fn every_name_of_the_contract_is_filled_in() {
    check("'{{ site.id }}'", "", &["12"]);
    check("'{{ site.slug }}'", "", &["blog"]);
    check("'{{ site.domain }}'", "", &["www.blog.example"]);
    check(
        "'{{ site.hosts | join(\",\") }}'",
        "",
        &["www.blog.example"],
    );
    check("'{{ vars.name }}'", "", &["n"]);
    check("'{{ vars.count + 1 }}'", "", &["4"]);
    check("'{{ vars.ratio }}'", "", &["0.5"]);
    check("'{{ vars.on }}'", "", &["true"]);
    check("'fd://{{ socket.fd }}'", "", &["fd://3"]);
    check("'{{ socket.path }}'", "", &["/run/i/12.7/s"]);
    check("'{{ instance.number }}'", "", &["2"]);
    check("'{{ instance.dir }}'", "", &["/run/i/12.7/private"]);
    let path = "/run/i/12.7/private/x.ini";
    check("'{{ files[\"x.ini\"] }}'", "", &[path]);
}

#[test]
fn names_in_variables_are_filled_in_too() {
    check("'{{ vars.folder }}'", "", &["/run/i/12.7/private/blog"]);
    let row = "vars.folder = '/srv/{{ site.slug }}'";
    check("'{{ vars.folder }}'", row, &["/srv/blog"]);
    let row = "vars.list = ['{{ site.id }}', '{{ \"{{\" }}']";
    check("'{{ vars.list }}'", row, &["12", "{{"]);
}

#[test]
fn a_list_alone_becomes_as_many_arguments() {
    check("'{{ vars.list }}'", "", &["a", "b"]);
    check("'{{vars.list}}', 'c'", "", &["a", "b", "c"]);
    check("'{{ vars.list }}'", "vars.list = []", &[]);
    check("'{{ vars.list | join(\" \") }}'", "", &["a b"]);
}

#[test]
fn no_value_of_a_site_is_split_or_run_by_a_shell() {
    let row = "vars.name = '$(reboot) ; `x` \"a b\" | y'";
    check("'{{ vars.name }}'", row, &["$(reboot) ; `x` \"a b\" | y"]);
}

#[test]
fn what_a_site_listens_on_can_be_its_own_choice() {
    let template = "listen = '{{ vars.listen }}'\nprotocol = '{{ vars.protocol }}'\n\
                    command = ['x']\nvars.listen = 'fd'\nvars.protocol = 'http'\n";
    let spec = resolve(template, "vars.listen = 'path'\nvars.protocol = 'scgi'").unwrap();
    assert_eq!(spec.listen, ListenMode::Path);
    assert_eq!(spec.protocol, site_model::Protocol::Scgi);
}

#[test]
fn files_folder_and_environment_are_rendered() {
    let launch = launch(APP, "");
    assert_eq!(launch.working_dir, Some("/srv/blog".into()));
    assert_eq!(launch.files[0].name, "app.conf");
    assert_eq!(launch.files[0].text, "name=blog\n");
    assert_eq!(launch.env, [("MODE".to_owned(), "false".to_owned())]);
}

#[test]
fn lines_of_statements_leave_no_lines_in_files() {
    let template = "command = ['x']\n[vars]\nopts = ['a', 'b']\n[files]\nf = '''\n{% for o in \
                    vars.opts %}\n  {% if o %}\n{{ o }}\n  {% endif %}\n{% endfor %}\nend\n'''\n";
    assert_eq!(launch(template, "").files[0].text, "a\nb\nend\n");
}

#[test]
fn what_only_one_instance_yields_is_told_when_it_starts() {
    let template = "command = ['x']\n\
                    working_dir = '{% if instance.number < 5 %}/{% endif %}srv'\n";
    let spec = resolve(template, "").unwrap();
    assert!(spec.render(&instance()).is_ok());
    let fifth = InstanceContext {
        number: 5,
        ..instance()
    };
    let error = spec.render(&fifth).unwrap_err();
    assert!(matches!(error, RenderError::Text(_)));
    assert!(error.to_string().contains("absolute path"), "{error}");
}

#[test]
fn the_paths_of_a_sandbox_are_rendered() {
    let template = "command = ['x']\nvars.root = '/srv'\n[sandbox]\n\
        writable = ['{{ vars.root }}/{{ site.slug }}/media', '{{ instance.dir }}']\n\
        readable = ['/srv']\ninaccessible = ['/home']\n";
    let reach = launch(template, "vars.root = '/mnt'").reach;
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(
        reach.writable,
        paths(&["/mnt/blog/media", "/run/i/12.7/private"])
    );
    assert_eq!(reach.readable, paths(&["/srv"]));
    assert_eq!(reach.inaccessible, paths(&["/home"]));
    let relative = crate::support::rejection(template, "vars.root = 'srv'");
    let told = "error: a path here is absolute; this is `srv/blog/media`";
    assert!(relative.starts_with(told), "{relative}");
}

#[test]
fn a_specification_in_the_log_tells_nothing_that_its_workers_are_told() {
    let template = "
        command = ['/bin/serve', '{{ vars.token }}', 'secret argument']
        [vars]
        token = 'secret default'
        [env]
        KEY = 'secret of the template'
        [files]
        'app.conf' = 'secret in a file'
    ";
    let row = "
        vars.token = 'secret of the row'
        env.PASSWORD = 'secret of the site'
    ";
    let spec = Arc::new(resolve(template, row).unwrap());
    let revision = format!("{:?}", spec.revision);
    for shown in [
        format!("{spec:?}"),
        format!("{:?}", Want::Run(Arc::clone(&spec))),
    ] {
        assert!(shown.contains(&revision), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }
    let told = format!("{:?}", spec.render(&instance()).unwrap());
    assert_eq!(told.matches("secret").count(), 5, "{told}");
}
