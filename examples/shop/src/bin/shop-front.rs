//! The front: what customers see.

use std::process::ExitCode;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use composer_shop::model::{NewOrder, Order, Product, Receipt};
use composer_shop::service::{self, Failed, log, setting};
use composer_shop::store::{Request, Store};
use serde::{Deserialize, Serialize};

const PORT: &str = "8000";

#[derive(Deserialize)]
struct Wanted {
    #[serde(default = "one")]
    n: u32,
}

fn one() -> u32 {
    1
}

/// What a purchase shows: something from every other program.
#[derive(Serialize)]
struct Sale {
    /// From the catalog.
    product: String,
    /// From the orders API.
    order: i64,
    quantity: u32,
    /// From the worker.
    accepted: bool,
    total: String,
    left: i64,
    worker: String,
    /// How often the store has been started: it remembers.
    store_run: u64,
}

fn catalog() -> String {
    setting("CATALOG", "http://catalog:8001")
}

fn price(cents: u64) -> String {
    format!("{}.{:02} {}", cents / 100, cents % 100, setting("CURRENCY", "EUR"))
}

async fn list() -> Result<Html<String>, Failed> {
    let products: Vec<Product> = reqwest::get(format!("{}/products", catalog())).await?.json().await?;
    let rows: String = products
        .iter()
        .map(|p| {
            format!(
                "<li><a href=\"/buy/{}\">{}</a>, {}, {} left</li>\n",
                p.sku,
                p.name,
                price(p.cents),
                p.stock
            )
        })
        .collect();
    Ok(Html(format!("<!doctype html><title>shop</title><h1>The shop</h1>\n<ul>\n{rows}</ul>\n")))
}

async fn buy(Path(sku): Path<String>, Query(wanted): Query<Wanted>) -> Result<Json<Sale>, Failed> {
    let orders = setting("ORDERS", "http://orders:8002");
    let new = NewOrder { sku, quantity: wanted.n };
    let answer = reqwest::Client::new().post(format!("{orders}/orders")).json(&new).send().await?;
    if answer.status().is_client_error() {
        let status = StatusCode::from_u16(answer.status().as_u16())?;
        return Err(Failed(status, answer.text().await?.trim_end().to_owned()));
    }
    let order: Order = answer.error_for_status()?.json().await?;
    let receipt: Receipt =
        reqwest::get(format!("{orders}/orders/{}/receipt", order.id)).await?.json().await?;
    let runs = Store::connect().await?.ask(&Request::Runs).await?;
    log(format_args!("sold {} × {} by {}", order.quantity, order.product.name, receipt.worker));
    Ok(Json(Sale {
        product: order.product.name,
        order: order.id,
        quantity: order.quantity,
        accepted: receipt.accepted,
        total: price(receipt.cents),
        left: receipt.left,
        worker: receipt.worker,
        store_run: runs.as_u64().unwrap_or_default(),
    }))
}

fn main() -> ExitCode {
    let router = Router::new()
        .route("/", get(list))
        .route("/buy/{sku}", get(buy).post(buy))
        .route("/health", get(|| async { "ok\n" }));
    match std::env::args().nth(1).as_deref() {
        Some("--health") => service::run(service::probe(PORT)),
        Some("--fetch") => service::run(fetch(std::env::args().nth(2))),
        _ => service::run(service::serve(PORT, router)),
    }
}

/// `--fetch URL`: prints a page, for machines without curl.
async fn fetch(url: Option<String>) -> composer_shop::Result<()> {
    let url = url.ok_or("--fetch needs the address of a page")?;
    log(reqwest::get(url).await?.error_for_status()?.text().await?.trim_end());
    Ok(())
}
