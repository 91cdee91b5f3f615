//! Fifty containers at once: attached, and removed by their group, within bounds far above what was measured, so
//! that a step that became slow is seen. The figures are printed with `--nocapture`.
#![allow(clippy::print_stderr)]

use std::time::{Duration, Instant};

use composer_network::Host;
use futures_util::future::join_all;

use crate::world::{Container, bridge, on_a_host};

#[test]
fn fifty_are_attached_at_once_and_removed_in_one_go() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let containers: Vec<_> = (2..52).map(|last| Container::new(&format!("api-{last}"), last)).collect();
        let started = Instant::now();
        let attached = join_all(containers.iter().map(|container| container.attach(&host, &bridge))).await;
        let attaching = started.elapsed();
        assert!(
            attached
                .iter()
                .all(|outcome| { outcome.as_ref().is_ok_and(|attached| attached.warnings.is_empty()) })
        );
        let _service = containers[0].listens(80).await;
        assert!(containers[49].reaches(containers[0].address, 80).await);
        let started = Instant::now();
        host.remove_group(bridge.group, &[]).await.expect("removed");
        let removing = started.elapsed();
        eprintln!("50 attached in {attaching:?}, removed in {removing:?}");
        assert!(attaching < Duration::from_secs(8) && removing < Duration::from_secs(8));
    });
}
