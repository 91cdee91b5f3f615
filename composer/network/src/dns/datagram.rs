//! Queries over UDP.

use std::cell::RefCell;
use std::net::SocketAddrV4;
use std::rc::Rc;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::{JoinSet, yield_now};

use super::burst::{BURST, Burst};
use super::forward::Admitted;
use super::message::{Transport, fitting};
use super::server::{Client, Next};

/// Answers datagrams until it is dropped.
pub(super) async fn serve(client: Rc<Client>, socket: Rc<UdpSocket>, burst: Rc<RefCell<Burst>>) {
    // Aborted with this task: what a container asked ends with it.
    let mut forwards = JoinSet::new();
    loop {
        tokio::select! {
            ready = socket.readable() => if ready.is_err() { return },
            Some(_) = forwards.join_next() => continue,
        }
        let received = turn(&client, &socket, &mut burst.borrow_mut(), |admitted, query, from| {
            forwards.spawn_local(forward(admitted, query, from, Rc::clone(&socket)));
        });
        if received == BURST {
            // The others have their turn.
            yield_now().await;
        }
    }
}

/// Receives what is there, up to a burst, answers what can be answered at once and hands over the rest. How many
/// there were.
fn turn(
    client: &Client,
    socket: &UdpSocket,
    burst: &mut Burst,
    mut hand_over: impl FnMut(Admitted, Vec<u8>, SocketAddrV4),
) -> usize {
    // An error other than that nothing is there is one packet's and gone with it: a later turn goes on.
    let received = socket.try_io(Interest::READABLE, || burst.receive(socket)).unwrap_or(0);
    for place in 0..received {
        let Some((query, from, answer)) = burst.received(place) else { continue };
        match client.answer_into(query, answer) {
            Next::Send => burst.answered(from),
            Next::Ask(admitted) => hand_over(admitted, query.to_vec(), from),
            Next::Nothing => {}
        }
    }
    // A full buffer loses answers, as UDP may, and the client asks again.
    burst.send(socket);
    received
}

async fn forward(admitted: Admitted, query: Vec<u8>, from: SocketAddrV4, socket: Rc<UdpSocket>) {
    if let Some(answer) = admitted.ask(&query, Transport::Udp).await {
        // Upstreams may send more than was asked for.
        let Some(answer) = fitting(answer, &query) else { return };
        let _ = socket.try_send_to(&answer, from.into());
    }
}
