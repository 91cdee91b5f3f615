//! Asks a resolver as fast as it answers, for scripts/bench: a number of questions is open at any time.
//!
//! Many datagrams go by one system call each way: a client that needs two for each question, as dnsperf does, is busy
//! with itself where the server and it share few processors, and measures that.
//!
//!     dns_load SERVER:PORT COUNT OPEN NAME...
//!     dns_load floor COUNT OPEN NAME...     of a server that only sends back: the least work a resolver can do

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};

/// What is not answered in this time is lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most that is asked by one call.
const BURST: usize = 64;
const LONGEST: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [server, count, open, names @ ..] = &words[..] else {
        return Err("usage: dns_load SERVER:PORT COUNT OPEN NAME...".into());
    };
    let server = if server == "floor" { &floor()? } else { server };
    let (count, open): (usize, usize) = (count.parse()?, open.parse()?);
    let questions: Vec<Vec<u8>> = names.iter().map(|name| question(name)).collect::<Result<_, _>>()?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let load = Load::new(&socket, &questions, open.clamp(1, usize::from(u16::MAX)));
    let begun = Instant::now();
    let (answered, waited) = load.run(count)?;
    let seconds = begun.elapsed().as_secs_f64();
    println!("Queries per second: {:.0}", answered as f64 / seconds);
    println!("Average Latency (s): {:.9}", waited.as_secs_f64() / answered.max(1) as f64);
    println!("Queries lost: {}", count - answered);
    Ok(())
}

/// Starts a server that sends back what comes as if it were answered; where it is.
fn floor() -> Result<String, Box<dyn Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let place = socket.local_addr()?.to_string();
    std::thread::spawn(move || {
        let mut receiving = MultiHeaders::<SockaddrIn>::preallocate(BURST, None);
        let mut sending = MultiHeaders::<SockaddrIn>::preallocate(BURST, None);
        let mut buffers = vec![[0; LONGEST]; BURST];
        let raw = socket.as_raw_fd();
        loop {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            let Ok(messages) = recvmmsg(raw, &mut receiving, slices.iter_mut(), flags, None) else { return };
            let got: Vec<_> = messages.map(|message| (message.bytes, message.address)).collect();
            for buffer in &mut buffers[..got.len()] {
                buffer[7] = 1;
            }
            let slices: Vec<_> = buffers
                .iter()
                .zip(&got)
                .map(|(buffer, (length, _))| [IoSlice::new(&buffer[..*length])])
                .collect();
            let to: Vec<_> = got.iter().map(|(_, from)| *from).collect();
            // What cannot be sent is seen as lost.
            let _ = sendmmsg(raw, &mut sending, &slices, &to, [], MsgFlags::empty()).map(Iterator::count);
        }
    });
    Ok(place)
}

fn question(name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut packet = Packet::new_query(0);
    packet.set_flags(simple_dns::PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name)?.into_owned();
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    Ok(packet.build_bytes_vec()?)
}

struct Load<'a> {
    socket: &'a UdpSocket,
    questions: &'a [Vec<u8>],
    /// When the question with each id was asked; `None` where it was answered. Ids come round.
    asked: Vec<Option<Instant>>,
    next: usize,
}

impl<'a> Load<'a> {
    fn new(socket: &'a UdpSocket, questions: &'a [Vec<u8>], open: usize) -> Self {
        Self { socket, questions, asked: vec![None; open], next: 0 }
    }

    /// How many were answered, and how long they took together.
    fn run(mut self, count: usize) -> Result<(usize, Duration), Box<dyn Error>> {
        let (mut answered, mut waited) = (0, Duration::ZERO);
        let mut free: Vec<u16> = (0..u16::try_from(self.asked.len())?).collect();
        let mut receiving = MultiHeaders::<()>::preallocate(BURST, None);
        let mut buffers = vec![[0; LONGEST]; BURST];
        let mut open = 0;
        while answered < count && (self.next < count || open > 0) {
            open += self.ask(&mut free, count)?;
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
            let raw = self.socket.as_raw_fd();
            let got = match recvmmsg(raw, &mut receiving, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
                Ok(messages) => messages.count(),
                // Nothing came for as long as we wait.
                Err(nix::errno::Errno::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            let now = Instant::now();
            for buffer in &buffers[..got] {
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                let since = self.asked.get_mut(usize::from(id)).and_then(Option::take);
                // Without an error, and with an answer.
                if let Some(since) = since.filter(|_| buffer[3] & 0x0f == 0 && buffer[7] > 0) {
                    waited += now - since;
                    answered += 1;
                }
                free.push(id);
                open -= 1;
            }
        }
        Ok((answered, waited))
    }

    /// Asks as many as may be open.
    fn ask(&mut self, free: &mut Vec<u16>, count: usize) -> Result<usize, Box<dyn Error>> {
        let many = free.len().min(count - self.next).min(BURST);
        let mut sending = MultiHeaders::<()>::preallocate(BURST, None);
        let now = Instant::now();
        let mut packets = Vec::with_capacity(many);
        for id in free.drain(free.len() - many..) {
            let mut packet = self.questions[self.next % self.questions.len()].clone();
            packet[..2].copy_from_slice(&id.to_be_bytes());
            self.asked[usize::from(id)] = Some(now);
            packets.push(packet);
            self.next += 1;
        }
        let slices: Vec<_> = packets.iter().map(|packet| [IoSlice::new(packet)]).collect();
        let none = vec![None; many];
        let mut sent = 0;
        while sent < many {
            let raw = self.socket.as_raw_fd();
            sent +=
                sendmmsg(raw, &mut sending, &slices[sent..], &none[sent..], [], MsgFlags::empty())?.count();
        }
        Ok(many)
    }
}
