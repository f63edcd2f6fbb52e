//! The cluster as the watches have told of it, and what of the mesh a change concerns.
//!
//! Pure: news in, the services and documents out that have to be looked at. Nothing is written before every kind has been
//! listed once, so that a start never makes a mesh of half a cluster.

use super::cache::{Cache, Different, Seen};
use super::document::Document;
use super::facts::{Node, ObjectName, Pod, Service, Slice};
use crate::translate::Kind;
use std::collections::{BTreeMap, BTreeSet};
use weft_model::ServiceName;

/// What one watch says.
#[derive(Debug)]
pub enum News {
    Service(Seen<Service>),
    Slice(Seen<Slice>),
    Pod(Seen<Pod>),
    Node(Seen<Node>),
    Document(Kind, Seen<Document>),
}

/// The kinds of documents that clusters have.
pub const DOCUMENTS: [Kind; 6] = [
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::ReferenceGrant,
    Kind::TrafficPolicy,
    Kind::AuthorizationPolicy,
    Kind::NamespacePolicy,
];

/// What is known of the cluster.
#[derive(Debug)]
pub struct Cluster {
    pub services: Cache<Service>,
    pub slices: Cache<Slice>,
    pub pods: Cache<Pod>,
    pub nodes: Cache<Node>,
    pub documents: BTreeMap<Kind, Cache<Document>>,
}

/// What has to be looked at.
#[derive(Debug, Default, PartialEq)]
pub struct Due {
    pub services: BTreeSet<ServiceName>,
    pub documents: BTreeSet<(Kind, ObjectName)>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            services: Cache::default(),
            slices: Cache::default(),
            pods: Cache::default(),
            nodes: Cache::default(),
            documents: DOCUMENTS.into_iter().map(|kind| (kind, Cache::default())).collect(),
        }
    }
}

impl Cluster {
    /// Takes in what was seen.
    pub fn take(&mut self, news: News, due: &mut Due) {
        match news {
            News::Service(seen) => {
                let different = self.services.take(seen);
                due.services
                    .extend(different.iter().filter_map(|different| service(&different.name.0, &different.name.1)));
            }
            News::Slice(seen) => {
                for Different { name, before } in self.slices.take(seen) {
                    let now = self.slices.get(&name).map(|slice| slice.service.clone());
                    let of = now.into_iter().chain(before.map(|slice| slice.service));
                    due.services.extend(of.filter_map(|of| service(&name.0, &of)));
                }
            }
            News::Pod(seen) => {
                let different: BTreeSet<_> = self.pods.take(seen).into_iter().map(|different| different.name).collect();
                self.services_of(&different, due);
            }
            News::Node(seen) => {
                let different = self.nodes.take(seen);
                let nodes: BTreeSet<String> = different.into_iter().map(|different| different.name.1).collect();
                self.services_on(&nodes, due);
            }
            News::Document(kind, seen) => {
                let Some(cache) = self.documents.get_mut(&kind) else { return };
                due.documents.extend(cache.take(seen).into_iter().map(|different| (kind, different.name)));
            }
        }
    }

    /// Whether every kind has been listed once.
    pub fn is_complete(&self) -> bool {
        self.services.is_complete()
            && self.slices.is_complete()
            && self.pods.is_complete()
            && self.nodes.is_complete()
            && self.documents.values().all(Cache::is_complete)
    }

    /// Services that one of these pods is an endpoint of.
    fn services_of(&self, pods: &BTreeSet<ObjectName>, due: &mut Due) {
        let namespaces: BTreeSet<&str> = pods.iter().map(|(namespace, _)| namespace.as_str()).collect();
        for namespace in namespaces {
            let concerned = |slice: &&Slice| {
                let mut named = slice.endpoints.iter().filter_map(|member| member.pod.as_ref());
                named.any(|(pod, _)| pods.contains(&(namespace.to_owned(), pod.clone())))
            };
            let slices = self.slices.within(namespace).map(|(_, slice)| slice);
            due.services.extend(slices.filter(concerned).filter_map(|slice| service(namespace, &slice.service)));
        }
    }

    /// Services with an endpoint on one of these nodes.
    fn services_on(&self, nodes: &BTreeSet<String>, due: &mut Due) {
        if nodes.is_empty() {
            return;
        }
        let concerned = |slice: &Slice| {
            slice.endpoints.iter().any(|member| member.node.as_ref().is_some_and(|node| nodes.contains(node)))
        };
        let slices = self.slices.iter().filter(|(_, slice)| concerned(slice));
        due.services.extend(slices.filter_map(|((namespace, _), slice)| service(namespace, &slice.service)));
    }
}

/// `None`: Kubernetes would not have taken such a name, so it cannot be a service.
fn service(namespace: &str, name: &str) -> Option<ServiceName> {
    ServiceName::new(namespace, name).ok()
}
