//! Short forms that need nothing but the value itself.

use super::scalar::{spelled, whole};
use super::{Conversion, Shaper, complete};
use crate::source::Span;
use crate::spec::{Check, INT, SET, Shape, TEXTS};
use crate::words;
use crate::yaml::{Entry, Map, Node, Resolved, Scalar, Tag, Value};

/// `KEY=value`, or a mapping. A key alone has no value.
pub(crate) const PAIRS: Shape = Shape::Late(&Conversion {
    what: "a mapping or a list of `KEY=value`",
    forms: &[TEXTS],
    lengthen: |node, name, shaper| pairs(node, name, shaper, true),
    long: Shape::Map(&Shape::ScalarOrNull),
});

/// The same, where a key alone has an empty value.
pub(crate) const LABELS: Shape = Shape::Late(&Conversion {
    what: "a mapping or a list of `KEY=value`",
    forms: &[TEXTS],
    lengthen: |node, name, shaper| pairs(node, name, shaper, false),
    long: Shape::Map(&Shape::ScalarOrEmpty),
});

/// [`PAIRS`], where Docker Compose refuses an item that is given twice: elsewhere it has already taken one of them away.
pub(crate) const PAIRS_ONCE: Shape = Shape::Late(&Conversion {
    what: "a mapping or a list of `KEY=value`",
    forms: &[SET],
    lengthen: |mut node, name, shaper| {
        complete::repetitions(&mut node, 0, shaper.report);
        pairs(node, name, shaper, true)
    },
    long: Shape::Map(&Shape::ScalarOrNull),
});

/// [`LABELS`], likewise.
pub(crate) const LABELS_ONCE: Shape = Shape::Late(&Conversion {
    what: "a mapping or a list of `KEY=value`",
    forms: &[SET],
    lengthen: |mut node, name, shaper| {
        complete::repetitions(&mut node, 0, shaper.report);
        pairs(node, name, shaper, false)
    },
    long: Shape::Map(&Shape::ScalarOrEmpty),
});

/// A string, or a list of strings.
pub(crate) const TEXT_OR_TEXTS: Shape = Shape::Late(&Conversion {
    what: "a string or a list of strings",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(listed(node)),
    long: TEXTS,
});

/// The same, none of them twice.
pub(crate) const TEXT_OR_SET: Shape = Shape::Short(&Conversion {
    what: "a string or a list of strings",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(listed(node)),
    long: SET,
});

/// The same, of which empty ones do not count.
pub(crate) const DNS: Shape = Shape::Short(&Conversion {
    what: "a string or a list of strings",
    forms: &[Shape::Text],
    lengthen: |node, _, _| {
        let mut node = listed(node);
        if let Value::List(items) = &mut node.value {
            items.retain(|item| item.text_value() != Some(""));
        }
        Some(node)
    },
    long: TEXTS,
});

/// A scalar, or a list of scalars.
pub(crate) const ONE_OR_MORE: Shape = Shape::Late(&Conversion {
    what: "a string, a number, a boolean, or a list of them",
    forms: &[Shape::Scalar],
    lengthen: |node, _, _| Some(listed(node)),
    long: Shape::List(&Shape::Scalar),
});

/// A string or a whole number, which becomes a string.
pub(crate) const TEXT_OR_INT: Shape = Shape::Late(&Conversion {
    what: "a string or a whole number",
    forms: &[Shape::Text, INT],
    lengthen: text_or_int,
    long: Shape::Text,
});

/// The same, or nothing, which becomes an empty string.
pub(crate) const TEXT_OR_INT_OR_EMPTY: Shape = Shape::Late(&Conversion {
    what: "a string or a whole number",
    forms: &[Shape::Text, INT],
    lengthen: text_or_int,
    long: Shape::ScalarOrEmpty,
});

fn text_or_int(mut node: Node, name: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Value::Scalar(scalar) = &node.value else {
        return Some(node);
    };
    match scalar.resolve() {
        Resolved::Int(_) => node.value = Value::Scalar(Scalar::text(spelled(scalar))),
        Resolved::Bool(_) | Resolved::Float(_) => {
            return shaper.wrong_type(&node, name, "a string or a whole number");
        }
        Resolved::Null | Resolved::Text(_) => {}
    }
    Some(node)
}

/// A string or a boolean, which becomes a string.
pub(crate) const STRING_OR_X: Shape = Shape::Short(&Conversion {
    what: "a string or a boolean",
    forms: &[Shape::Text, Shape::StrictBool],
    lengthen: |mut node, _, _| {
        if let Some(value) = node.bool_value() {
            node.value = Value::Scalar(Scalar::text(value.to_string()));
        }
        Some(node)
    },
    long: Shape::Text,
});

/// A command: words, or a string that is split as a shell would.
pub(crate) const COMMAND: Shape = Shape::OrNull(&Shape::Late(&Conversion {
    what: "a string or a list",
    forms: &[Shape::Text],
    lengthen: command,
    long: WORDS,
}));

/// What a health check runs.
pub(crate) const TEST: Shape = Shape::Late(&Conversion {
    what: "a string or a list",
    forms: &[Shape::Text],
    lengthen: test,
    long: WORDS,
});

/// Words; one string where expressions are kept, which nobody takes apart.
const WORDS: Shape = Shape::Either(&Shape::Text, &TEXTS);

/// The word, however it is written.
const ALL: Shape =
    Shape::Checked(&Check { pattern: Some("^[aA][lL][lL]$"), wrong: |_| None, refused: |_| false });

/// How many devices are shown: `all` of them are -1.
pub(crate) fn shown_count(node: &Node) -> Node {
    match node.text_value() {
        Some(_) => Node::bare(node.span, -1),
        None => node.clone(),
    }
}

/// `all`, or a number.
pub(crate) const DEVICE_COUNT: Shape = Shape::Late(&Conversion {
    what: "`all` or a whole number",
    forms: &[ALL],
    lengthen: |node, _, _| match node.text_value() {
        Some(text) if text.eq_ignore_ascii_case("all") => Some(Node::bare(node.span, -1)),
        _ => Some(node),
    },
    long: INT,
});

/// Go's unsigned numbers.
pub(crate) fn not_negative(node: Node, name: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    if let Value::Scalar(scalar) = &node.value
        && matches!(whole(scalar), Some(..=-1))
    {
        shaper.value(&node, format!("`{name}` must be at least 0"));
        return None;
    }
    Some(node)
}

/// One limit, or a soft and a hard one. Go has no way to tell a limit of 0 from none, and prints two.
pub(crate) fn ulimit(mut node: Node, _: &str, _: &mut Shaper<'_>) -> Option<Node> {
    if let Value::Scalar(scalar) = &node.value
        && whole(scalar) == Some(0)
    {
        let both = [("soft", Node::bare(node.span, 0)), ("hard", Node::bare(node.span, 0))];
        node = mapping(node.span, both);
    }
    Some(node)
}

fn pairs(node: Node, name: &str, shaper: &mut Shaper<'_>, variables: bool) -> Option<Node> {
    let Value::List(items) = node.value else {
        return Some(node);
    };
    let mut map = Map::new();
    for item in items {
        let Some(text) = item.text_value() else {
            let kind = item.kind();
            let found =
                shaper.report.error(item.span, format!("an item of `{name}` must be a string, not {kind}"));
            found.help("write `- KEY=value`, or leave the dashes away: `KEY: value`");
            continue;
        };
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Node::text(item.span, value)),
            None => (text.to_owned(), Node::null(item.span)),
        };
        if variables && key.ends_with(char::is_whitespace) {
            shaper.value(&item, format!("the variable `{key}` ends with a space")).help("write `KEY=value`");
            continue;
        }
        map.insert(key, Entry { key: item.span, node: value });
    }
    Some(Node { value: Value::Map(map), ..node })
}

/// A scalar as a list of one.
pub(crate) fn listed(node: Node) -> Node {
    match &node.value {
        Value::Scalar(_) if !node.is_null() => {
            let item = Node { tag: Tag::None, ..node.clone() };
            Node { value: Value::List(vec![item]), ..node }
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => node,
    }
}

fn command(node: Node, name: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Value::Scalar(scalar) = &node.value else {
        return Some(node);
    };
    let Resolved::Text(text) = scalar.resolve() else {
        return Some(node);
    };
    let Some(words::Line { words, operator }) = words::line(text) else {
        let parentheses = text.contains(['(', ')']) && !text.contains(['"', '\'', '\\']);
        let (message, help) = if parentheses {
            ("has parentheses, which only a shell understands", "write a list")
        } else {
            ("has a quote that is never closed", "close it, or write a list")
        };
        shaper
            .value(&node, format!("`{name}` {message}"))
            .help(format!("{help}: `[\"sh\", \"-c\", \"...\"]`"));
        return None;
    };
    if let Some(operator) = operator {
        shaper
            .report
            .warning(node.span, format!("`{name}` ends at `{operator}`: there is no shell to understand it"))
            .help("write a list: `[\"sh\", \"-c\", \"...\"]`");
    }
    let words = words.into_iter().map(|word| Node::text(node.span, word)).collect();
    Some(Node { value: Value::List(words), ..node })
}

fn test(node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    if let Some(text) = node.text_value() {
        let words = vec![Node::text(node.span.implied(), "CMD-SHELL"), Node::text(node.span, text)];
        return Some(Node { value: Value::List(words), ..node });
    }
    let first = node.items().first().map(|first| first.text_value().unwrap_or(""));
    let length = node.items().len();
    let complaint = match first {
        None | Some("CMD" | "CMD-SHELL" | "NONE") if length != 1 => None,
        None | Some("NONE") => None,
        Some("CMD") => Some("`CMD` needs a program"),
        Some("CMD-SHELL") => Some("`CMD-SHELL` needs one string, a shell's command line"),
        Some(_) => Some("a `test` list must begin with `CMD`, `CMD-SHELL` or `NONE`"),
    };
    if let Some(complaint) = complaint {
        // `[CMD]` is well-formed as far as Docker Compose is concerned.
        let refused = first != Some("CMD");
        let found = if refused { shaper.value(&node, complaint) } else { shaper.doubt(&node, complaint) };
        found.help("for example `test: [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]`");
        if refused || !shaper.lenient {
            return None;
        }
    }
    Some(node)
}

/// A mapping of which one key is known.
pub(super) fn mapping<const N: usize>(span: Span, pairs: [(&str, Node); N]) -> Node {
    let entries = pairs.into_iter().map(|(key, node)| (key.to_owned(), Entry { key: span, node }));
    Node::map(span, entries.collect())
}

/// The text of any scalar; `None` where it is none.
pub(super) fn scalar_text(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => Some(spelled(scalar)),
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
    }
}
