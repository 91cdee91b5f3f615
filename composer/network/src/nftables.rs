//! What rules of nf_tables are put together from: the messages of linux/netfilter/nf_tables.h, over netlink-bindings.

use netlink_bindings::nftables::{
    CmpOps, MetaKeys, Nfgenmsg, PushExprListAttrs, PushRuleAttrs, Registers, VerdictCode,
};
use netlink_bindings::utils::RequestBuf;

/// NFNL_SUBSYS_NFTABLES (linux/netfilter/nfnetlink.h): the subsystem that a batch is for.
const SUBSYSTEM: u16 = 10;

/// The expressions of a rule that is being put into a batch.
pub(crate) type Expressions<'a> = PushExprListAttrs<PushRuleAttrs<RequestBuf<'a>>>;

/// Puts a property of the packet into register 1.
pub(crate) fn load_meta(expressions: Expressions<'_>, key: MetaKeys) -> Expressions<'_> {
    expressions
        .nested_elem()
        .nested_data_meta()
        .push_dreg(Registers::Reg1 as u32)
        .push_key(key as u32)
        .end_nested()
        .end_nested()
}

/// Goes on with the rule only if register 1 compares so.
pub(crate) fn compare<'a>(expressions: Expressions<'a>, how: CmpOps, value: &[u8]) -> Expressions<'a> {
    expressions
        .nested_elem()
        .nested_data_cmp()
        .push_sreg(Registers::Reg1 as u32)
        .push_op(how as u32)
        .nested_data()
        .push_value(value)
        .end_nested()
        .end_nested()
        .end_nested()
}

/// Lets the packet pass this chain.
pub(crate) fn accept(expressions: Expressions<'_>) -> Expressions<'_> {
    verdict(expressions, VerdictCode::Accept)
}

/// What becomes of the packet.
pub(crate) fn verdict(expressions: Expressions<'_>, code: VerdictCode) -> Expressions<'_> {
    expressions
        .nested_elem()
        .nested_data_immediate()
        .push_dreg(Registers::RegVerdict as u32)
        .nested_data()
        .nested_verdict()
        .push_code(code as u32)
        .end_nested()
        .end_nested()
        .end_nested()
        .end_nested()
}

/// The header of a batch's begin and end.
pub(crate) fn batch_header() -> Nfgenmsg {
    let mut header = Nfgenmsg::new();
    header.set_res_id(SUBSYSTEM);
    header
}

/// The header of a request about a family (NFPROTO_*, linux/netfilter.h; 0 for all).
pub(crate) fn header(family: u8) -> Nfgenmsg {
    Nfgenmsg { nfgen_family: family, ..Default::default() }
}
