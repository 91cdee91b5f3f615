//! The messages of traffic control (linux/pkt_sched.h, linux/pkt_cls.h): those of HTB and TBF byte by byte, as
//! netlink-packet-route has none of them.

use libc::{EEXIST, EINVAL, ENOENT};
use rtnetlink::packet_core::{DefaultNla, Emitable, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::InfoKind;
use rtnetlink::packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirrorOption, TcActionOption, TcActionType, TcAttribute,
    TcFilterU32Option, TcHandle, TcMessage, TcMirror, TcMirrorActionType, TcOption, TcU32Key, TcU32Selector,
    TcU32SelectorFlags,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::Direction;
use super::rate::{Queue, UNLIMITED};
use super::socket::Request;

/// The class of the stack's cap, and the first of a container.
const CAP: u16 = 1;
pub(super) const FIRST: u16 = 2;
/// The class by which a kernel is tried.
pub(super) const TRIAL: u16 = 0xfffe;
/// The root of a device's tree.
pub(super) const ROOT: TcHandle = TcHandle { major: 1, minor: 0 };
/// The filters' place on a link; on a device each container has its own.
const PRIORITY: u16 = 1;

/// What a class may send at once after it has been idle, in units of 64 ns (PSCHED_TICKS2NS, net/pkt_sched.h): 20 ms, so
/// that nothing is lost where the kernel comes late to a busy machine.
const BURST: u32 = 20_000_000 / 64;
/// What a class has of its own, in bytes a second: as little as can be, as all of it is to come from the cap. What it sends
/// by that the cap is charged with too, so that others have as much less.
const GUARANTEED: u64 = 1;
/// Bytes in which classes take turns: one packet as large as the kernel makes them.
const TURN: u32 = 64 << 10;
/// Packets that wait outside of any class.
const DIRECT: u32 = 1000;

// Of linux/pkt_sched.h, linux/rtnetlink.h and linux/if_ether.h.
const TCA_OPTIONS: u16 = 2;
const HTB_PARAMETERS: u16 = 1;
const HTB_INIT: u16 = 2;
const HTB_DIRECT: u16 = 5;
const HTB_RATE: u16 = 6;
const HTB_CEILING: u16 = 7;
const HTB_VERSION: u32 = 3;
const HTB_RATE_TO_QUANTUM: u32 = 10;
const TBF_PARAMETERS: u16 = 1;
const TBF_RATE: u16 = 4;
const TBF_BURST: u16 = 6;
const LINKLAYER_ETHERNET: u8 = 1;
const EVERY_PROTOCOL: u16 = 3;

const ADD: u16 = NLM_F_CREATE | NLM_F_EXCL;
const PUT: u16 = NLM_F_CREATE | NLM_F_REPLACE;

pub(super) fn make_device(name: &str, group: u32) -> Request {
    let link =
        LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::Ifb).name(name).link_group(group);
    let message = RouteNetlinkMessage::NewLink(link.build());
    Request { doing: "make", needs: Some("ifb"), fine: &[EEXIST], message, flags: ADD }
}

pub(super) fn remove_device(index: u32) -> Request {
    let message = RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(index).build());
    Request { doing: "remove", needs: None, fine: &[libc::ENODEV], message, flags: 0 }
}

/// A device as it is to be, with its tree's root and the stack's cap, in bytes a second.
pub(super) fn device(index: u32, group: u32, cap: u64) -> Vec<Request> {
    let up = LinkUnspec::new_with_index(index).link_group(group).up().build();
    let init: Vec<u8> =
        [HTB_VERSION, HTB_RATE_TO_QUANTUM, 0, 0, 0].into_iter().flat_map(u32::to_ne_bytes).collect();
    let options = nest(vec![(HTB_INIT, init), (HTB_DIRECT, DIRECT.to_ne_bytes().into())]);
    let root = kind(message(index, TcHandle::ROOT, ROOT), "htb", options);
    vec![
        Request {
            doing: "raise",
            needs: None,
            fine: &[],
            message: RouteNetlinkMessage::SetLink(up),
            flags: 0,
        },
        Request {
            doing: "set up the limits of",
            needs: Some("sch_htb"),
            fine: &[EEXIST],
            message: RouteNetlinkMessage::NewQueueDiscipline(root),
            flags: ADD,
        },
        htb_class(index, ROOT, CAP, cap, cap),
    ]
}

/// A container's class with its ceiling in bytes a second, and the filters that put what its links have brought into it.
pub(super) fn class<'a>(
    index: u32,
    class: u16,
    ceiling: u64,
    queue: Queue,
    veths: impl Iterator<Item = &'a str>,
) -> Vec<Request> {
    let cap = TcHandle { minor: CAP, ..ROOT };
    let mut requests = vec![
        htb_class(index, cap, class, GUARANTEED, ceiling),
        leaf(index, class, queue),
        waiting(index, class, queue),
        declassify(index, class),
    ];
    requests.extend(veths.map(|veth| {
        let from = TcFilterU32Option::Indev([veth.as_bytes(), &[0]].concat());
        let into = TcFilterU32Option::ClassId(TcHandle { minor: class, ..ROOT });
        filter(index, ROOT, class, vec![into, from], "cls_u32")
    }));
    requests
}

/// Takes a container's class away.
pub(super) fn forget(index: u32, class: u16) -> Vec<Request> {
    let gone = message(index, TcHandle::UNSPEC, TcHandle { minor: class, ..ROOT });
    let class_gone = Request {
        doing: "remove a class of",
        needs: None,
        fine: &[ENOENT],
        message: RouteNetlinkMessage::DelTrafficClass(gone),
        flags: 0,
    };
    vec![declassify(index, class), class_gone]
}

/// Has a link lead through a device: what leaves its host's end goes into the container.
pub(super) fn lead(index: u32, direction: Direction, device: u32) -> Vec<Request> {
    vec![hook(index), lead_no_more(index, direction), redirect(index, direction, device)]
}

/// Has it lead there no more.
pub(super) fn lead_no_more(index: u32, direction: Direction) -> Request {
    remove_filters(index, hooked(direction), PRIORITY)
}

/// Everything that a container may need, made on a device that nothing goes through, and taken away again.
pub(super) fn trial(index: u32) -> Vec<Request> {
    let mut requests = class(index, TRIAL, UNLIMITED, Queue::of(UNLIMITED, 0), std::iter::empty());
    let anywhere = TcFilterU32Option::ClassId(TcHandle { minor: TRIAL, ..ROOT });
    requests.push(filter(index, ROOT, TRIAL, vec![anywhere], "cls_u32"));
    for direction in Direction::BOTH {
        requests.extend(lead(index, direction, index));
    }
    requests.extend(forget(index, TRIAL));
    requests.push(Request {
        doing: "clear",
        needs: None,
        fine: &[],
        message: RouteNetlinkMessage::DelQueueDiscipline(clsact(index)),
        flags: 0,
    });
    requests
}

fn htb_class(index: u32, parent: TcHandle, class: u16, rate: u64, ceiling: u64) -> Request {
    // struct tc_htb_opt: rate, ceiling, their buffers, quantum, level (the kernel's), priority.
    let mut parameters = [rate_of(rate), rate_of(ceiling)].concat();
    parameters.extend([BURST, BURST, TURN, 0, 0].into_iter().flat_map(u32::to_ne_bytes));
    let options = nest(vec![
        (HTB_PARAMETERS, parameters),
        (HTB_RATE, rate.to_ne_bytes().into()),
        (HTB_CEILING, ceiling.to_ne_bytes().into()),
    ]);
    let message = kind(message(index, parent, TcHandle { minor: class, ..ROOT }), "htb", options);
    Request {
        doing: "set a limit of",
        needs: None,
        fine: &[],
        message: RouteNetlinkMessage::NewTrafficClass(message),
        flags: PUT,
    }
}

/// The end of a class: its packets wait here, those that are large in parts. Its rate keeps nothing back.
fn leaf(index: u32, class: u16, queue: Queue) -> Request {
    // struct tc_tbf_qopt: rate, peak rate, bytes that wait, and two times that TBF_BURST replaces.
    let mut parameters = [rate_of(UNLIMITED), [0; 12]].concat();
    parameters.extend([queue.limit, 0, 0].into_iter().flat_map(u32::to_ne_bytes));
    let options = nest(vec![
        (TBF_PARAMETERS, parameters),
        (TBF_RATE, UNLIMITED.to_ne_bytes().into()),
        (TBF_BURST, queue.packet.to_ne_bytes().into()),
    ]);
    let parent = TcHandle { minor: class, ..ROOT };
    let message = kind(message(index, parent, TcHandle { major: class, minor: 0 }), "tbf", options);
    Request {
        doing: "set up a queue of",
        needs: Some("sch_tbf"),
        fine: &[],
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: PUT,
    }
}

/// Where a class's packets wait. The kinds are part of every kernel that has traffic control (net/sched/sch_fifo.c).
fn waiting(index: u32, class: u16, queue: Queue) -> Request {
    let (name, limit) = match queue.few {
        Some(packets) => ("pfifo_head_drop", packets),
        None => ("bfifo", queue.limit),
    };
    let message = message(index, TcHandle { major: class, minor: 1 }, TcHandle::UNSPEC);
    Request {
        doing: "set up a queue of",
        needs: None,
        fine: &[],
        // struct tc_fifo_qopt.
        message: RouteNetlinkMessage::NewQueueDiscipline(kind(message, name, limit.to_ne_bytes().into())),
        flags: PUT,
    }
}

fn declassify(index: u32, class: u16) -> Request {
    remove_filters(index, ROOT, class)
}

/// The place for filters at both ends of a link.
fn hook(index: u32) -> Request {
    let message = kind(clsact(index), "clsact", Vec::new());
    Request {
        doing: "set up filters of",
        needs: Some("sch_ingress"),
        fine: &[EEXIST],
        message: RouteNetlinkMessage::NewQueueDiscipline(message),
        flags: ADD,
    }
}

fn clsact(index: u32) -> TcMessage {
    message(index, TcHandle::CLSACT, TcHandle { minor: 0, ..TcHandle::CLSACT })
}

pub(super) fn hooked(direction: Direction) -> TcHandle {
    let minor = match direction {
        Direction::Ingress => TcHandle::MIN_EGRESS,
        Direction::Egress => TcHandle::MIN_INGRESS,
    };
    TcHandle { minor, ..TcHandle::CLSACT }
}

fn redirect(index: u32, direction: Direction, device: u32) -> Request {
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = device;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind("mirred".to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
    ];
    let options = vec![TcFilterU32Option::Action(vec![action])];
    filter(index, hooked(direction), PRIORITY, options, "act_mirred")
}

/// A filter that all packets pass, but for what its options say.
fn filter(
    index: u32,
    parent: TcHandle,
    priority: u16,
    mut options: Vec<TcFilterU32Option>,
    needs: &'static str,
) -> Request {
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    selector.nkeys = 1;
    selector.keys = vec![TcU32Key::default()];
    options.push(TcFilterU32Option::Selector(selector));
    let mut message = message(index, parent, TcHandle::UNSPEC);
    message.header.info = place(priority);
    message.attributes = vec![
        TcAttribute::Kind("u32".to_owned()),
        TcAttribute::Options(options.into_iter().map(TcOption::U32).collect()),
    ];
    Request {
        doing: "set a filter of",
        needs: Some(needs),
        fine: &[],
        message: RouteNetlinkMessage::NewTrafficFilter(message),
        flags: ADD,
    }
}

/// All filters of a priority; there may be none, and no place for any.
fn remove_filters(index: u32, parent: TcHandle, priority: u16) -> Request {
    let mut message = message(index, parent, TcHandle::UNSPEC);
    message.header.info = place(priority);
    Request {
        doing: "remove a filter of",
        needs: None,
        fine: &[ENOENT, EINVAL],
        message: RouteNetlinkMessage::DelTrafficFilter(message),
        flags: 0,
    }
}

fn place(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(EVERY_PROTOCOL.to_be())
}

pub(super) fn priority_of(filter: &TcMessage) -> u16 {
    (filter.header.info >> 16) as u16
}

fn message(index: u32, parent: TcHandle, handle: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    (message.header.parent, message.header.handle) = (parent, handle);
    message
}

fn kind(mut message: TcMessage, kind: &str, options: Vec<u8>) -> TcMessage {
    message.attributes.push(TcAttribute::Kind(kind.to_owned()));
    if !options.is_empty() {
        message.attributes.push(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options)));
    }
    message
}

/// struct tc_ratespec: cell size, link layer, overhead, cell alignment, least size, bytes a second. With a link layer the
/// kernel needs no table of transmission times; rates of 64 bits are attributes of their own.
fn rate_of(rate: u64) -> [u8; 12] {
    let mut spec = [0; 12];
    spec[1] = LINKLAYER_ETHERNET;
    spec[8..].copy_from_slice(&u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    spec
}

fn nest(attributes: Vec<(u16, Vec<u8>)>) -> Vec<u8> {
    let attributes: Vec<DefaultNla> =
        attributes.into_iter().map(|(kind, value)| DefaultNla::new(kind, value)).collect();
    let mut bytes = vec![0; attributes.as_slice().buffer_len()];
    attributes.as_slice().emit(&mut bytes);
    bytes
}
