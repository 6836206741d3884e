//! Sites apart from each other: only root can show it.

use site_model::RunAs;
use vassal_core::ExitReason;

use super::support::{House, is_root, within};
use crate::daemon::process::SpawnFailure;
use crate::daemon::process::failure::IdentityError;

/// Tries as one site what it may not do to another, and reports what succeeded.
const INTRUDER: &str = "
import os, socket, sys
folder = sys.argv[1]
def tries(name, attempt):
    try:
        attempt()
        print(name)
    except OSError:
        pass
def connect(path, kind):
    socket.socket(socket.AF_UNIX, kind).connect(path)
tries('socket', lambda: connect(folder + '/s', socket.SOCK_STREAM))
tries('notify', lambda: connect(folder + '/notify', socket.SOCK_DGRAM))
tries('list', lambda: os.listdir(folder))
tries('private', lambda: os.listdir(folder + '/private'))
tries('file', lambda: open(folder + '/private/secret.ini'))
tries('output', lambda: open(folder + '/log/out', 'rb'))
tries('record', lambda: open(folder + '/instance.json'))
tries('log', lambda: open(sys.argv[2]))
tries('environment', lambda: open('/proc/' + sys.argv[3] + '/environ').read())
tries('memory', lambda: open('/proc/' + sys.argv[3] + '/mem', 'rb'))
tries('working folder', lambda: os.listdir('/proc/' + sys.argv[3] + '/cwd'))
tries('descriptors', lambda: os.listdir('/proc/' + sys.argv[3] + '/fd'))
tries('signal', lambda: os.kill(int(sys.argv[3]), 0))
tries('logs', lambda: os.listdir(os.path.dirname(sys.argv[2])))
tries('become root', lambda: os.setuid(0))
print('done')
";

#[tokio::test]
async fn one_site_reaches_nothing_of_another() {
    if !is_root() {
        return;
    }
    let house = House::open().await;
    let victim = house
        .command(1, &["sleep", "600"])
        .with_file("secret.ini", "s");
    let victim = house.start(victim).await.unwrap();
    let folder = victim
        .socket()
        .parent()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let log = house.path("state/logs/1.log").display().to_string();
    let pid = victim.pid().to_string();
    let intruder = house.command(2, &["python3", "-c", INTRUDER, &folder, &log, &pid]);
    let incarnation = intruder.order.incarnation;
    let lines = house.output_of(intruder).await;
    assert_eq!(lines, [format!("1.{incarnation} out done")]);
    victim.remove().await;
}

#[tokio::test]
async fn a_named_user_has_its_own_uid_home_and_groups() {
    if !is_root() {
        return;
    }
    let house = House::open().await;
    let mut run = house.shell(
        7,
        "echo $USER $HOME $(id -u) $(id -g); grep NoNewPrivs /proc/self/status",
    );
    run.order.run_as = RunAs::User("daemon".into());
    let lines = house.output_of(run).await;
    assert!(lines[0].ends_with("out daemon /usr/sbin 1 1"), "{lines:?}");
    assert!(lines[1].ends_with("NoNewPrivs:\t1"), "{lines:?}");
}

#[tokio::test]
async fn a_user_that_can_t_be_had_is_refused_before_anything_is_made() {
    let house = House::open().await;
    let mut run = house.shell(7, "true");
    run.order.run_as = RunAs::User("no-such-user".into());
    let failure = house.start(run).await.unwrap_err();
    let SpawnFailure::Identity(error) = failure else {
        panic!("{failure}");
    };
    if is_root() {
        assert!(matches!(error, IdentityError::UnknownUser(_)), "{error}");
    } else {
        assert!(matches!(error, IdentityError::NotRoot { .. }), "{error}");
    }
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_program_that_its_user_may_not_reach_is_told_with_the_closed_folder() {
    if !is_root() {
        return;
    }
    let house = House::open().await;
    let closed = house.path("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::copy("/bin/true", closed.join("true")).unwrap();
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let program = closed.join("true").display().to_string();
    let failure = house
        .start(house.command(7, &[&program]))
        .await
        .unwrap_err();
    let hint = format!("(user 271000 may not enter {})", closed.display());
    assert!(failure.to_string().contains(&hint), "{failure}");
}

#[tokio::test]
async fn sites_that_are_assigned_together_keep_their_uids_apart() {
    if !is_root() {
        return;
    }
    let house = House::open().await;
    let site = |id| site_model::SiteId::new(id).unwrap();
    house
        .launcher
        .assign_identities(vec![site(5), site(4)])
        .await
        .unwrap();
    let uid = |id| {
        let account = house.launcher.identity_of(site(id), &RunAs::Auto);
        async { account.await.unwrap().identity.uid }
    };
    assert_eq!(
        (uid(4).await, uid(5).await, uid(6).await),
        (271_001, 271_000, 271_002)
    );
    let ended = house
        .start(house.shell(4, "exit $(($(id -u) - 271000))"))
        .await
        .unwrap();
    assert_eq!(
        within(ended.exited()).await,
        ExitReason::Exited { status: 1 }
    );
}
