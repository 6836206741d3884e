//! A real nginx, with the configuration of `docs/PURGING.md`, purged by request and by folder.

use std::path::Path;

use purge_targets::{Kind, NginxTarget, Report, What};

use crate::support::{Delivering, Origin, Pages, Program, free_port, names, order, until_open};

const GUIDE: &str = include_str!("../../../../docs/PURGING.md");
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_cache_purge_module.so";

struct Nginx {
    place: tempfile::TempDir,
    port: u16,
    _program: Program,
}

impl Nginx {
    async fn start(origin: &Origin) -> Self {
        let place = tempfile::tempdir().unwrap();
        // Workers of a root's nginx belong to nobody.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(place.path(), mode).unwrap();
        let port = free_port();
        let configuration = place.path().join("nginx.conf");
        std::fs::write(&configuration, configure(place.path(), port, origin)).unwrap();
        let log = place.path().join("log");
        let arguments = ["-p", place.path().to_str().unwrap(), "-c", "nginx.conf"];
        let program = Program::start("/usr/sbin/nginx", &arguments, &log);
        until_open(port, &log).await;
        Self {
            place,
            port,
            _program: program,
        }
    }
}

/// The example of the guide, in a place of this test's.
fn configure(place: &Path, port: u16, origin: &Origin) -> String {
    let (_, from) = GUIDE.split_once("```nginx\n").unwrap();
    let (http, _) = from.split_once("```").unwrap();
    let place = place.display();
    let mut configured = http.to_owned();
    for (example, here) in [
        ("/var/cache/nginx/pages", format!("{place}/pages")),
        ("listen 80;", format!("listen 127.0.0.1:{port};")),
        (
            "http://127.0.0.1:8080",
            format!("http://{}", origin.address),
        ),
    ] {
        assert!(configured.contains(example), "{example}");
        configured = configured.replace(example, &here);
    }
    format!(
        "load_module {MODULE};\ndaemon off;\nmaster_process off;\npid {place}/pid;\n\
         error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {place}/body;\nproxy_temp_path {place}/proxy;\n\
         fastcgi_temp_path {place}/fastcgi;\nuwsgi_temp_path {place}/uwsgi;\n\
         scgi_temp_path {place}/scgi;\n{configured}}}\n"
    )
}

const PAGES: [(&str, &str); 4] = [
    ("a.example", "/"),
    ("a.example", "/one/"),
    ("b.example", "/"),
    ("c.example", "/"),
];

#[tokio::test]
async fn nginx_drops_the_pages_that_are_named() {
    let origin = Origin::start().await;
    let nginx = Nginx::start(&origin).await;
    let mut pages = Pages::fill(nginx.port, &PAGES).await;
    let url = format!("http://127.0.0.1:{}", nginx.port);
    let target = NginxTarget::try_new(&url, None, false).unwrap();
    let mut delivering = Delivering::start(Kind::Nginx(target));
    // The last was never asked for: 404 or 412, which is done as well.
    let what = What::Paths(names(&["/", "/never-asked-for"]));
    let hosts = &["a.example", "b.example"];
    delivering.carry_out(vec![order(hosts, what)]).await;
    assert_eq!(pages.gone().await, ["a.example/", "b.example/"]);
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn another_host_can_be_named_than_the_sites_own() {
    let origin = Origin::start().await;
    let nginx = Nginx::start(&origin).await;
    let mut pages = Pages::fill(nginx.port, &PAGES).await;
    let url = format!("http://127.0.0.1:{}", nginx.port);
    let target = NginxTarget::try_new(&url, Some("c.example"), false).unwrap();
    let mut delivering = Delivering::start(Kind::Nginx(target));
    let what = What::Paths(names(&["/"]));
    delivering
        .carry_out(vec![order(&["a.example"], what)])
        .await;
    assert_eq!(pages.gone().await, ["c.example/"]);
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn what_the_module_can_not_purge_is_given_up_and_said() {
    let origin = Origin::start().await;
    let nginx = Nginx::start(&origin).await;
    let url = format!("http://127.0.0.1:{}", nginx.port);
    let target = NginxTarget::try_new(&url, None, false).unwrap();
    let mut delivering = Delivering::start(Kind::Nginx(target));
    let tagged = order(&["a.example"], What::Tags(names(&["t"])));
    delivering.send(vec![tagged.clone()]).await;
    let Report::Dead {
        order: dead,
        reason,
    } = delivering.report().await
    else {
        panic!("nothing was given up");
    };
    assert_eq!(dead, tagged);
    assert!(reason.contains("can't purge by tag"), "{reason}");
    assert_eq!(delivering.report().await, Report::Done(1));
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn an_emptied_folder_is_an_empty_cache_that_fills_again() {
    let origin = Origin::start().await;
    let nginx = Nginx::start(&origin).await;
    let mut pages = Pages::fill(nginx.port, &PAGES).await;
    let folder = nginx.place.path().join("pages");
    let mut delivering = Delivering::start(Kind::directory(&folder).unwrap());
    for _ in 0..2 {
        let what = What::Tags(names(&["t"]));
        delivering
            .carry_out(vec![order(&["a.example"], what)])
            .await;
        assert_eq!(pages.gone().await.len(), 4);
        assert_eq!(pages.gone().await, Vec::<String>::new());
    }
    delivering.delivery.shutdown().await;
}
