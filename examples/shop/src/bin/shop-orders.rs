//! The orders API: takes orders, hands them to the workers and knows what became of them.

use std::process::ExitCode;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use composer_shop::model::{NewOrder, Order, Product, Receipt};
use composer_shop::service::{self, Failed, log, setting};
use composer_shop::store::{Request, Store};

const PORT: &str = "8002";

async fn order(Json(new): Json<NewOrder>) -> Result<Json<Order>, Failed> {
    if new.quantity == 0 {
        return Err(Failed(StatusCode::BAD_REQUEST, "an order is of one at least".to_owned()));
    }
    let catalog = setting("CATALOG", "http://catalog:8001");
    let answer = reqwest::get(format!("{catalog}/products/{}", new.sku)).await?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(Failed(StatusCode::NOT_FOUND, format!("there is no {}", new.sku)));
    }
    let product: Product = answer.error_for_status()?.json().await?;
    let mut store = Store::connect().await?;
    let id = store.ask(&Request::Add { key: "orders".to_owned(), by: 1 }).await?;
    let order = Order { id: id.as_i64().unwrap_or_default(), product, quantity: new.quantity };
    store.ask(&Request::Push { queue: "orders".to_owned(), value: serde_json::to_value(&order)? }).await?;
    log(format_args!("order {}: {} × {}", order.id, order.quantity, order.product.sku));
    Ok(Json(order))
}

/// Answers when the order has been dealt with.
async fn receipt(Path(id): Path<i64>) -> Result<Json<Receipt>, Failed> {
    let mut store = Store::connect().await?;
    let known: i64 = store.get("orders").await?.unwrap_or(0);
    if !(1..=known).contains(&id) {
        return Err(Failed(StatusCode::NOT_FOUND, format!("there is no order {id}")));
    }
    let receipt = store.ask(&Request::Wait { key: format!("receipt/{id}") }).await?;
    Ok(Json(serde_json::from_value(receipt)?))
}

fn main() -> ExitCode {
    let router = Router::new()
        .route("/orders", post(order))
        .route("/orders/{id}/receipt", get(receipt))
        .route("/health", get(|| async { "ok\n" }));
    match std::env::args().nth(1).as_deref() {
        Some("--health") => service::run(service::probe(PORT)),
        _ => service::run(service::serve(PORT, router)),
    }
}
