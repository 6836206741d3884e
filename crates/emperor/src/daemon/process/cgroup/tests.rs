//! Cgroups over a folder that looks like one. What only the kernel's do is shown with instances, in
//! `process::tests::limits`.

use std::fs::{create_dir, write};
use vassal_core::settings::Limits;

use super::fake::Fake;
use super::place::Standing;
use super::{Admission, Cgroups};
use crate::let_go::once_let_go;

fn limits() -> Limits {
    Limits {
        memory_max_bytes: 1 << 20,
        pids_max: 7,
        ..Limits::default()
    }
}

#[test]
fn controllers_are_handed_down_and_limits_written() {
    let fake = Fake::with("cpuset cpu io memory pids rdma\n");
    let Admission {
        cgroup, missing, ..
    } = fake.cgroups().admit("7.12", &limits());
    assert_eq!(missing, Vec::<String>::new());
    let all = "+cpu +io +memory +pids";
    assert_eq!(fake.text("cgroup.subtree_control"), all);
    assert_eq!(fake.text("sites/cgroup.subtree_control"), all);
    assert_eq!(fake.text("sites/7.12/memory.max"), "1048576");
    assert_eq!(fake.text("sites/7.12/memory.oom.group"), "1");
    assert_eq!(fake.text("sites/7.12/pids.max"), "7");
    drop(cgroup);
}

#[test]
fn what_stands_in_the_cgroup_steps_into_a_leaf() {
    for standing in [Standing::Within, Standing::Given] {
        let fake = Fake::with("memory\n");
        write(fake.path("cgroup.procs"), "17\n").unwrap();
        fake.cgroups_as(standing);
        assert_eq!(fake.text("emperor/cgroup.procs"), "17");
        assert_eq!(fake.text("cgroup.subtree_control"), "+memory");
    }
}

#[test]
fn a_limit_whose_controller_is_not_there_is_told_and_the_others_hold() {
    let fake = Fake::with("hugetlb pids\n");
    let admission = fake.cgroups().admit("7.12", &limits());
    let told = format!(
        "limits.memory_max: {} has no controller for it",
        fake.path("").display()
    );
    assert_eq!(admission.missing, [told]);
    assert!(admission.cgroup.is_some());
    assert_eq!(fake.text("sites/7.12/pids.max"), "7");
    assert!(!fake.path("sites/7.12/memory.max").exists());
}

#[test]
fn a_limit_that_the_kernel_refuses_is_told_with_its_file() {
    let fake = Fake::with("memory pids\n");
    let cgroups = fake.cgroups();
    // What stands where the kernel's file would be can't be written to.
    create_dir(fake.path("sites/7.12")).unwrap();
    let taken = cgroups.admit("7.12", &limits());
    assert_eq!(taken.missing.len(), 2, "{:?}", taken.missing);
    assert!(taken.cgroup.is_none());
    assert!(taken.missing[0].starts_with("limits.memory_max: could not make "));
}

#[test]
fn without_cgroups_every_limit_that_is_asked_for_is_told_and_no_other() {
    let cgroups = Cgroups::at(Err("no cgroup v2 file system is mounted".to_owned()));
    let admission = cgroups.admit("7.12", &limits());
    let expected = [
        "limits.memory_max: no cgroup v2 file system is mounted",
        "limits.pids_max: no cgroup v2 file system is mounted",
    ];
    assert_eq!(admission.missing, expected);
    let nothing = cgroups.admit("7.13", &Limits::default());
    assert!(nothing.missing.is_empty() && nothing.cgroup.is_none());
}

#[test]
fn a_unit_that_the_next_emperor_starts_in_hands_nothing_down() {
    let fake = Fake::with("memory pids\n");
    write(fake.path("cgroup.procs"), "17\n").unwrap();
    let cgroups = fake.cgroups_as(Standing::Unit);
    assert_eq!(fake.text("cgroup.subtree_control"), "");
    assert!(!fake.path("emperor").exists());
    let admission = cgroups.admit("7.12", &limits());
    assert!(admission.cgroup.is_some());
    let told = &admission.missing[0];
    assert!(
        told.starts_with("limits.memory_max: systemd could not start"),
        "{told}"
    );
}

#[test]
fn a_cgroup_is_one_emperor_s_alone() {
    let fake = Fake::with("pids\n");
    let first = fake.cgroups_as(Standing::Given);
    let second = fake.cgroups_as(Standing::Given);
    let told = &second.admit("7.12", &limits()).missing[0];
    let expected = "limits.memory_max: another emperor's instances are in ";
    assert!(told.starts_with(expected), "{told}");
    assert!(second.regain("7.12").is_none());
    drop(first);
    once_let_go(|| {
        let next = fake.cgroups_as(Standing::Given);
        let admission = next.admit("7.12", &limits());
        admission.cgroup.ok_or(admission.missing.join(" "))
    });
}
