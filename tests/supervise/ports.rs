//! Ports of runs that know nothing of each other.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use futures::future::join_all;
use recipe::supervise::{Failure, Supervisor, SupervisorError};

use super::harness::{Folder, shut_down, within};

async fn refusal(supervisor: &Supervisor, port: u16) -> Failure {
    match supervisor.reserve_port(Some(port)).await.expect_err("it is refused") {
        SupervisorError::Refused(failure) => failure,
        other => panic!("not a refusal: {other}"),
    }
}

#[tokio::test]
async fn concurrent_runs_never_get_the_same_port() {
    let folders: Vec<_> = (0..8).map(|_| Folder::new()).collect();
    let supervisors = join_all(folders.iter().map(Folder::supervisor)).await;
    let asked = supervisors.iter().flat_map(|supervisor| (0..25).map(|_| supervisor.reserve_port(None)));
    let ports = within("all ports", join_all(asked)).await;
    let ports: BTreeSet<_> = ports.into_iter().map(|port| port.expect("most are free")).collect();
    assert_eq!(ports.len(), 200);
    let held = supervisors[0].status().await.expect("it answers").ports;
    assert_eq!(held.len(), 25);

    let refusal = refusal(&supervisors[1], held[0]).await;
    let holder = supervisors[0].process().pid;
    assert!(
        matches!(&refusal, Failure::PortTaken { holder: Some(found), .. } if found.pid == holder),
        "{refusal}"
    );

    supervisors[0].release_port(held[0]).await.expect("it answers");
    assert_eq!(supervisors[1].reserve_port(Some(held[0])).await.expect("it is free"), held[0]);
    shut_down(&supervisors[0]).await;
    assert_eq!(supervisors[2].reserve_port(Some(held[1])).await.expect("it is free"), held[1]);
    join_all(supervisors[1..].iter().map(shut_down)).await;
}

#[tokio::test]
async fn a_taken_port_is_told_with_who_has_it() {
    let folder = Folder::new();
    let supervisor = folder.supervisor().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let refusal = refusal(&supervisor, port).await.to_string();
    assert!(refusal.contains(&port.to_string()), "{refusal}");
    if cfg!(target_os = "linux") {
        assert!(refusal.contains(&format!("(pid {})", std::process::id())), "{refusal}");
    }
    shut_down(&supervisor).await;
}
