//! Workers that are forked from a preloader, as far as they are instances like others.

use std::sync::Arc;

use site_model::{InstanceNumber, Site, SiteId};
use vassal_core::{Catalog, CatalogInput, Source, TemplateSource, VassalSpec};

use super::support::{House, within};
use crate::daemon::process::cgroup::fake::Fake;
use crate::daemon::process::{RunningInstance, Start};

/// A preloader that has loaded nothing, and workers that do nothing.
const TEMPLATE: &str = r#"
command = ["python3", "-c", '''
import array, json, os, signal, socket, struct

def send(link, message):
    body = json.dumps(message).encode()
    link.sendall(struct.pack("!I", len(body)) + body)

def receive(link):
    head, ancillary, _, _ = link.recvmsg(4, socket.CMSG_SPACE(32), socket.MSG_WAITALL)
    if len(head) < 4:
        os._exit(0)
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    return json.loads(link.recv(struct.unpack("!I", head)[0], socket.MSG_WAITALL)), descriptors

control = socket.socket(fileno=3)
send(control, "ready")
while True:
    order, descriptors = receive(control)
    if order != "fork":
        send(control, {"ended": {"pid": order["ended"]["pid"], "exit": "unknown"}})
        continue
    link = socket.socket(fileno=descriptors[0])
    if os.fork() == 0:
        os.setsid()
        send(link, "here")
        receive(link)
        link.close()
        signal.pause()
    link.close()
''']

[preload]
enabled = true

[limits]
pids_max = 33
"#;

/// A site of that template.
fn spec(house: &House, id: i64) -> Arc<VassalSpec> {
    let template = TemplateSource {
        name: "forked".parse().unwrap(),
        source: Source::new("forked.toml".to_owned(), TEMPLATE),
    };
    let catalog = Catalog::new(CatalogInput {
        templates: vec![template],
        ..CatalogInput::default()
    });
    let site = Site {
        id: SiteId::new(id).unwrap(),
        slug: format!("site-{id}").parse().unwrap(),
        domain: Some(format!("site-{id}.example").parse().unwrap()),
        aliases: Box::default(),
        enabled: true,
        template: Some("forked".parse().unwrap()),
        extra_config: Box::default(),
        run_as: Some(house.run_as()),
        extra_uwsgi_ini: Box::default(),
        pool: None,
        reloads: 0,
    };
    Arc::new(catalog.unwrap().resolve(&Arc::new(site)).unwrap())
}

#[tokio::test]
async fn a_forked_worker_has_a_cgroup_and_limits_of_its_own_as_a_spawned_one_has() {
    let fake = Fake::with("memory pids\n");
    let mut house = House::open().await;
    house.divide(fake.cgroups());
    let is_in_its_own = |site: i64, incarnation: u64, instance: &RunningInstance| {
        let cgroup = format!("sites/{site}.{incarnation}");
        let text = |file: &str| fake.text(&format!("{cgroup}/{file}"));
        assert_eq!(text("cgroup.procs"), instance.pid().to_string());
        assert_eq!(text("pids.max"), "33");
        assert_eq!(text("memory.oom.group"), "1");
        assert_eq!(instance.missing(), [] as [String; 0]);
    };

    let mut run = house.shell(6, "sleep 600");
    run.order.limits.pids_max = 33;
    let incarnation = run.order.incarnation.get();
    let spawned = house.start(run).await.unwrap();
    is_in_its_own(6, incarnation, &spawned);

    let mut forked = Vec::new();
    for site in [7, 8] {
        let incarnation = house.launcher.next_incarnation();
        let start = Start::begin(incarnation, std::time::Duration::ZERO);
        let (spec, number) = (spec(&house, site), InstanceNumber::new(1));
        let instance = house.launcher.spawn(&spec, number, incarnation, start);
        let instance = within(instance).await.unwrap();
        is_in_its_own(site, incarnation.get(), &instance);
        forked.push(instance);
    }
    for instance in forked.into_iter().chain([spawned]) {
        within(instance.remove()).await;
    }
    house.launcher.end_preloaders().await;
}
