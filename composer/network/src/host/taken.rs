//! What of the address space the host has: its routes and addresses.

use futures_util::StreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};

use super::Host;
use crate::error::{Error, Result};
use crate::subnets::clashes;

/// What new subnets keep clear of.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Addresses of the host, routes to what is on its links, and what is set aside.
    near: Vec<IpNet>,
    /// Routes to what lies behind others, or that refuse it. They say little of who is there: companies and VPNs route
    /// much more than they have.
    beyond: Vec<IpNet>,
}

impl Taken {
    /// All of it: what a subnet that is picked keeps clear of.
    pub fn all(&self) -> Vec<IpNet> {
        self.near.iter().chain(&self.beyond).copied().collect()
    }

    /// What keeps a network from this very subnet. A part of what lies behind others may be chosen, as in Docker.
    pub fn in_the_way_of(&self, subnet: IpNet) -> Vec<IpNet> {
        let beyond = self.beyond.iter().filter(|route| !is_part(subnet, **route));
        self.near.iter().chain(beyond).copied().collect()
    }

    /// The narrowest route to what lies behind others of which a subnet is a part.
    pub fn around(&self, subnet: IpNet) -> Option<IpNet> {
        let around = self.beyond.iter().filter(|route| is_part(subnet, **route) && clashes(subnet, **route));
        around.max_by_key(|route| route.prefix_len()).copied()
    }
}

impl FromIterator<IpNet> for Taken {
    fn from_iter<I: IntoIterator<Item = IpNet>>(nets: I) -> Self {
        Self { near: nets.into_iter().collect(), beyond: Vec::new() }
    }
}

impl Extend<IpNet> for Taken {
    fn extend<I: IntoIterator<Item = IpNet>>(&mut self, nets: I) {
        self.near.extend(nets);
    }
}

/// Whether a subnet is less than all of a route.
fn is_part(subnet: IpNet, route: IpNet) -> bool {
    route.prefix_len() < subnet.prefix_len() && route.contains(&subnet)
}

impl Host {
    /// Every route of every table and every address. Default routes are left out, and what interfaces of these names have.
    ///
    /// # Errors
    /// When the kernel refuses to list them.
    pub async fn taken(&self, besides: &[&str]) -> Result<Taken> {
        let mut own = Vec::new();
        for name in besides {
            own.extend(self.find(name).await?.map(|link| link.header.index));
        }
        let mut taken = Taken::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all_routes = RouteMessage::default();
            all_routes.header.address_family = family;
            let mut routes = std::pin::pin!(self.handle.route().get(all_routes).execute());
            while let Some(route) = routes.next().await {
                let route = route.map_err(|error| Error::netlink("list", "the routes of the host", error))?;
                let is_own = route
                    .attributes
                    .iter()
                    .any(|attribute| matches!(attribute, RouteAttribute::Oif(index) if own.contains(index)));
                if is_own {
                    continue;
                }
                let routes = if leads_beyond(&route) { &mut taken.beyond } else { &mut taken.near };
                routes.extend(destination(&route));
            }
        }
        let others =
            self.addresses(None).await?.into_iter().filter(|(_, at)| !own.contains(&at.header.index));
        taken.extend(others.map(|(net, _)| net));
        Ok(taken)
    }
}

/// Whether a route goes by somebody else, or to nobody.
fn leads_beyond(route: &RouteMessage) -> bool {
    let by_another = || {
        route.attributes.iter().any(|attribute| match attribute {
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => true,
            RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| {
                let gateway = |attribute: &RouteAttribute| {
                    matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_))
                };
                hop.attributes.iter().any(gateway)
            }),
            _ => false,
        })
    };
    match route.header.kind {
        RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw => true,
        RouteType::Unicast => by_another(),
        _ => false,
    }
}

/// Where a route leads to; `None` of one to everywhere.
fn destination(route: &RouteMessage) -> Option<IpNet> {
    let length = route.header.destination_prefix_length;
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => {
            IpNet::new((*address).into(), length).ok()
        }
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
            IpNet::new((*address).into(), length).ok()
        }
        _ => None,
    })
}
