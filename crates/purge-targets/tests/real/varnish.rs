//! A real Varnish, with the VCL of `docs/PURGING.md`.

use ::http::HeaderName;
use purge_targets::{Address, Kind, Limits, Order, Report, VarnishTarget, What};

use crate::support::{Delivering, Origin, Pages, Program, free_port, names, order, until_open};

const GUIDE: &str = include_str!("../../../../docs/PURGING.md");
const SECRET: &str = "a secret of this test\n";

struct Varnish {
    place: tempfile::TempDir,
    port: u16,
    admin: u16,
    _program: Program,
}

/// The example of the guide, in front of another origin.
fn vcl(origin: &Origin) -> String {
    let (_, from) = GUIDE.split_once("```vcl\n").unwrap();
    let (vcl, _) = from.split_once("```").unwrap();
    let port = format!(".port = \"{}\"", origin.address.port());
    assert!(vcl.contains(".port = \"8080\""));
    vcl.replace(".port = \"8080\"", &port)
}

impl Varnish {
    async fn start(origin: &Origin) -> Self {
        let place = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port(), free_port());
        let file = |name: &str| place.path().join(name);
        std::fs::write(file("default.vcl"), vcl(origin)).unwrap();
        std::fs::write(file("secret"), SECRET).unwrap();
        let text = |name| file(name).to_str().unwrap().to_owned();
        let (listen, command) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{admin}"));
        let program = Program::start(
            "/usr/sbin/varnishd",
            &[
                "-F",
                "-j",
                "none",
                "-n",
                &text("work"),
                "-s",
                "malloc,16M",
                "-a",
                &listen,
                "-T",
                &command,
                "-S",
                &text("secret"),
                "-f",
                &text("default.vcl"),
            ],
            &file("log"),
        );
        until_open(port, &file("log")).await;
        Self {
            place,
            port,
            admin,
            _program: program,
        }
    }

    fn target(&self) -> VarnishTarget {
        VarnishTarget {
            address: Address::parse(&format!("127.0.0.1:{}", self.admin)).unwrap(),
            secret_file: Some(self.place.path().join("secret")),
            tag_header: HeaderName::from_static("surrogate-key"),
        }
    }
}

#[tokio::test]
async fn a_ban_hits_what_is_named_and_nothing_else() {
    let origin = Origin::start().await;
    let varnish = Varnish::start(&origin).await;
    let mut pages = Pages::fill(
        varnish.port,
        &[
            ("a.example", "/"),
            ("a.example", "/a.b/"),
            ("a.example", "/a.b/?page=2"),
            ("a.example", "/a.b/c"),
            ("a.example", "/axb/"),
            ("a.example", "/tag/%C3%BC"),
            ("b.example", "/"),
            ("b.example", "/a.b/"),
            ("x.c.example", "/"),
        ],
    )
    .await;
    let mut delivering = Delivering::start(Kind::Varnish(varnish.target()));
    let site = &["a.example", "*.c.example"][..];
    for (what, expected) in [
        (
            What::Paths(names(&["/"])),
            &["a.example/", "x.c.example/"][..],
        ),
        (
            What::Paths(names(&["/a.b/"])),
            &["a.example/a.b/", "a.example/a.b/?page=2"],
        ),
        (
            What::Prefixes(names(&["/a.b"])),
            &["a.example/a.b/", "a.example/a.b/?page=2", "a.example/a.b/c"],
        ),
        (What::Paths(names(&["/tag/ü"])), &["a.example/tag/%C3%BC"]),
        (What::Tags(names(&["tag-axb"])), &["a.example/axb/"]),
        (What::Tags(names(&["tag", "all"])), &[]),
        (
            What::Everything,
            &[
                "a.example/",
                "a.example/a.b/",
                "a.example/a.b/?page=2",
                "a.example/a.b/c",
                "a.example/axb/",
                "a.example/tag/%C3%BC",
                "x.c.example/",
            ],
        ),
    ] {
        delivering.carry_out(vec![order(site, what.clone())]).await;
        assert_eq!(pages.gone().await, expected, "{what:?}");
    }
    delivering.carry_out(vec![Order::everything()]).await;
    assert_eq!(pages.gone().await.len(), 9);
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn bans_of_a_thousand_paths_are_commands_that_varnish_reads() {
    let origin = Origin::start().await;
    let varnish = Varnish::start(&origin).await;
    let mut pages = Pages::fill(
        varnish.port,
        &[
            ("a.example", "/rather/long/path/999"),
            ("a.example", "/other"),
        ],
    )
    .await;
    let paths = (0..1_000).map(|n| format!("/rather/long/path/{n}"));
    let mut delivering = Delivering::start(Kind::Varnish(varnish.target()));
    let what = What::Paths(paths.collect());
    delivering
        .carry_out(vec![order(&["a.example"], what)])
        .await;
    assert_eq!(pages.gone().await, ["a.example/rather/long/path/999"]);
    delivering.delivery.shutdown().await;
}

#[tokio::test]
async fn a_wrong_secret_is_said_and_a_mended_one_is_read_again() {
    let origin = Origin::start().await;
    let varnish = Varnish::start(&origin).await;
    let mut pages = Pages::fill(varnish.port, &[("a.example", "/")]).await;
    let mut target = varnish.target();
    let own = varnish.place.path().join("own-secret");
    std::fs::write(&own, "another").unwrap();
    target.secret_file = Some(own.clone());
    let limits = Limits {
        first_pause: std::time::Duration::from_millis(10),
        attempts: u32::MAX,
        ..Limits::default()
    };
    let mut delivering = Delivering::with(Kind::Varnish(target), limits);
    let what = What::Paths(names(&["/"]));
    delivering.send(vec![order(&["a.example"], what)]).await;
    let mut standing = delivering.delivery.standing();
    let failing = standing
        .wait_for(|standing| standing.failing.is_some())
        .await;
    let reason = failing.unwrap().failing.clone().unwrap();
    assert!(reason.contains("doesn't take the secret in"), "{reason}");
    assert_eq!(pages.gone().await, Vec::<String>::new());
    std::fs::write(&own, SECRET).unwrap();
    assert_eq!(delivering.report().await, Report::Done(1));
    assert_eq!(pages.gone().await, ["a.example/"]);
    delivering.delivery.shutdown().await;
}
