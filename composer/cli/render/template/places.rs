//! Gives the parts of a template places: before each action the template says where it is, and each `.Field` becomes a
//! call of a function that knows of structs, methods and places. gotmpl does not tell where something has failed.

use gotmpl::parse::{
    ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr,
};

use super::functions::{AT, CALL, GET, KEEP, PRINT};

/// Where a function is that there is none of, and its name.
type Unknown = (usize, String);

/// The tree with places.
pub fn placed(tree: ListNode, known: &impl Fn(&str) -> bool) -> Result<ListNode, Unknown> {
    Places { known }.list(tree)
}

struct Places<'a, F> {
    known: &'a F,
}

impl<F: Fn(&str) -> bool> Places<'_, F> {
    fn list(&self, list: ListNode) -> Result<ListNode, Unknown> {
        let mut nodes = Vec::with_capacity(list.nodes.len() * 2);
        for node in list.nodes {
            let at = match &node {
                Node::Action(action) => Some(action.pos),
                Node::If(branch) | Node::Range(branch) | Node::With(branch) => Some(branch.pos),
                Node::Template(template) => Some(template.pos),
                Node::Break(pos) | Node::Continue(pos) => Some(*pos),
                Node::List(_) | Node::Text(_) | Node::Define(_) => None,
            };
            nodes.extend(at.map(mark));
            nodes.push(self.node(node)?);
        }
        Ok(ListNode { pos: list.pos, nodes })
    }

    fn node(&self, node: Node) -> Result<Node, Unknown> {
        Ok(match node {
            Node::List(list) => Node::List(self.list(list)?),
            Node::Action(action) => {
                let is_printed = action.pipe.decl.is_empty();
                let pipe = self.pipe(action.pipe, if is_printed { PRINT } else { KEEP })?;
                Node::Action(ActionNode { pos: action.pos, pipe })
            }
            Node::If(branch) => Node::If(self.branch(branch)?),
            Node::Range(branch) => Node::Range(self.branch(branch)?),
            Node::With(branch) => Node::With(self.branch(branch)?),
            Node::Template(mut template) => {
                // Without a value it has none; gotmpl would give it what is at hand.
                let none = || PipeNode {
                    pos: template.pos,
                    decl: Vec::new(),
                    commands: vec![call(template.pos, KEEP, vec![Expr::Nil(template.pos)])],
                    is_assign: false,
                };
                let pipe = template.pipe.take().map(|pipe| self.pipe(pipe, KEEP)).transpose()?;
                template.pipe = Some(pipe.unwrap_or_else(none));
                Node::Template(template)
            }
            node @ (Node::Text(_) | Node::Define(_) | Node::Break(_) | Node::Continue(_)) => node,
        })
    }

    fn branch(&self, branch: BranchNode) -> Result<BranchNode, Unknown> {
        Ok(BranchNode {
            pos: branch.pos,
            pipe: self.pipe(branch.pipe, KEEP)?,
            body: self.list(branch.body)?,
            else_body: branch.else_body.map(|body| self.list(body)).transpose()?,
        })
    }

    /// One more function takes what comes of it.
    fn pipe(&self, mut pipe: PipeNode, last: &str) -> Result<PipeNode, Unknown> {
        let commands = std::mem::take(&mut pipe.commands).into_iter().enumerate();
        pipe.commands =
            commands.map(|(index, command)| self.command(command, index > 0)).collect::<Result<_, _>>()?;
        pipe.commands.push(call(pipe.pos, last, Vec::new()));
        Ok(pipe)
    }

    /// One that is piped to has an argument more than is written.
    fn command(&self, command: CommandNode, is_piped: bool) -> Result<CommandNode, Unknown> {
        let pos = command.pos;
        let mut args = command.args.into_iter();
        let Some(first) = args.next() else { return Ok(CommandNode { pos, args: Vec::new() }) };
        let rest = args.map(|arg| self.expr(arg)).collect::<Result<Vec<_>, _>>()?;
        let has_arguments = is_piped || !rest.is_empty();
        let mut args = match self.field(first)? {
            Ok((pos, base, path)) if has_arguments => field(CALL, pos, base, &path),
            Ok((pos, base, path)) => field(GET, pos, base, &path),
            Err(other) => vec![other],
        };
        args.extend(rest);
        Ok(CommandNode { pos, args })
    }

    fn expr(&self, expr: Expr) -> Result<Expr, Unknown> {
        Ok(match self.field(expr)? {
            Ok((pos, base, path)) => command(pos, field(GET, pos, base, &path)),
            Err(other) => other,
        })
    }

    /// What a field is of, and its path; anything else as it is.
    #[expect(clippy::type_complexity, reason = "used above alone")]
    fn field(&self, expr: Expr) -> Result<Result<(Pos, Expr, Vec<SmolStr>), Expr>, Unknown> {
        Ok(match expr {
            Expr::Field(pos, path) => Ok((pos, Expr::Dot(pos), path)),
            Expr::Variable(pos, name, path) if !path.is_empty() => {
                Ok((pos, Expr::Variable(pos, name, Vec::new()), path))
            }
            Expr::Chain(pos, inner, path) => {
                let inner = self.expr(*inner)?;
                let is_function = matches!(inner, Expr::Identifier(..));
                Ok((pos, if is_function { command(pos, vec![inner]) } else { inner }, path))
            }
            Expr::Pipe(pos, pipe) => Err(Expr::Pipe(pos, self.pipe(pipe, KEEP)?)),
            Expr::Identifier(pos, name) if !(self.known)(&name) => {
                return Err((pos.offset, name.to_string()));
            }
            other => Err(other),
        })
    }
}

/// `{{$at = at OFFSET}}`, which prints nothing.
fn mark(pos: Pos) -> Node {
    let commands = vec![call(pos, AT, vec![offset(pos)])];
    Node::Action(ActionNode {
        pos,
        pipe: PipeNode { pos, decl: vec![AT.into()], commands, is_assign: false },
    })
}

fn call(pos: Pos, function: &str, args: Vec<Expr>) -> CommandNode {
    CommandNode { pos, args: std::iter::once(Expr::Identifier(pos, function.into())).chain(args).collect() }
}

fn field(function: &str, pos: Pos, base: Expr, path: &[SmolStr]) -> Vec<Expr> {
    vec![Expr::Identifier(pos, function.into()), base, Expr::String(pos, path.join(".").into()), offset(pos)]
}

fn offset(pos: Pos) -> Expr {
    Expr::Number(pos, Number::Int(i64::try_from(pos.offset).unwrap_or(i64::MAX)))
}

fn command(pos: Pos, args: Vec<Expr>) -> Expr {
    let commands = vec![CommandNode { pos, args }];
    Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
}
