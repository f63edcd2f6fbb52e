//! `weft-shop`: a small shop of six services, and the customers who use it.
//!
//! One service per subcommand, one file per service. They know each other by names such as
//! `search.shop.svc.cluster.local` and know nothing of a mesh. A service that cannot start says why and exits with 1.

mod frontend;
mod search;
mod ranking;
mod features;
mod cart;
mod goods;
mod replica;
mod wire;
mod customers;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A small shop of six services, for trying a service mesh on.
#[derive(Debug, Parser)]
#[command(name = "weft-shop", version)]
struct Flags {
    #[command(subcommand)]
    service: Service,
}

#[derive(Debug, Subcommand)]
enum Service {
    /// What customers see: HTTP/1.1 in front of search and cart
    Frontend(frontend::Flags),
    /// Finds goods (gRPC), asks ranking for their order
    Search(search::Flags),
    /// Orders goods (gRPC), asks features what is known of them
    Ranking(ranking::Flags),
    /// What is known of goods (HTTP/2 with prior knowledge), cached in Redis
    Features(features::Flags),
    /// Carts (HTTP/1.1), kept in the memory of one replica
    Cart(cart::Flags),
    /// Not a service: a crowd of customers who search, fill carts and check that nothing is lost
    Customers(customers::Flags),
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let done = match Flags::parse().service {
        Service::Frontend(flags) => frontend::serve(flags).await,
        Service::Search(flags) => search::serve(flags).await,
        Service::Ranking(flags) => ranking::serve(flags).await,
        Service::Features(flags) => features::serve(flags).await,
        Service::Cart(flags) => cart::serve(flags).await,
        Service::Customers(flags) => customers::run(flags).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
