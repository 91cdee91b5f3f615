//! Huge pages: `x-hugetlb` and `x-resources.limits.hugetlb`.

use std::collections::HashMap;

use super::bounds::CAP;
use super::shown;
use crate::diagnostic::Report;
use crate::limits::Limits;
use crate::options::HostFacts;
use crate::size;
use crate::source::Span;

pub(super) fn of_one(limits: &Limits, host: Option<&HostFacts>, report: &mut Report) {
    let mut seen: HashMap<u64, Span> = HashMap::new();
    let known = host.and_then(|host| host.huge_pages.as_ref());
    for limit in &limits.hugetlb {
        let (text, span) = (&limit.size.value, limit.size.span);
        let Some(size) = limit.size() else {
            report
                .error(span, format!("`{text}` is not the size of a page"))
                .help("an amount of bytes: `2M`, `1G`");
            continue;
        };
        if let Some(first) = seen.insert(size, span) {
            report
                .error(span, format!("pages of {} are limited twice", size::show(size)))
                .also(first, "the first time")
                .help("keep one of them");
        }
        if let Some(known) = known.filter(|known| !known.contains(&size)) {
            let sizes: Vec<String> = known.iter().map(|size| size::show(*size)).collect();
            let found = report.error(span, format!("this host has no huge pages of {}", size::show(size)));
            match sizes.as_slice() {
                [] => found.note("it has no huge pages at all"),
                sizes => found.note(format!("it has those of {}", sizes.join(" and "))),
            };
        } else if u64::try_from(limit.bytes.value).is_ok_and(|bytes| bytes > 0 && bytes < size) {
            report
                .error(
                    limit.bytes.span,
                    format!("{} are less than one page of {}", shown(limit.bytes.value), size::show(size)),
                )
                .help("0 lets none be used");
        } else if let Some(bytes) = u64::try_from(limit.bytes.value).ok().filter(|bytes| bytes % size > 0) {
            let whole = bytes - bytes % size;
            let (bytes, size, whole) = (size::show(bytes), size::show(size), size::show(whole));
            report.warning(
                limit.bytes.span,
                format!("{bytes} are not whole pages of {size}: the limit is {whole}"),
            );
        }
    }
}

pub(super) fn against_stack(limits: &Limits, stack: &Limits, report: &mut Report) {
    for own in &limits.hugetlb {
        let cap = stack.hugetlb.iter().find(|cap| cap.size() == own.size());
        if let Some(cap) = cap.filter(|cap| own.bytes.value > cap.bytes.value) {
            let message = format!(
                "{} of huge pages are more than the whole stack's {}",
                shown(own.bytes.value),
                shown(cap.bytes.value)
            );
            report.error(own.bytes.span, message).also(cap.bytes.span, CAP);
        }
    }
}
