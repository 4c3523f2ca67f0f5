"""What the single check is measured beside: an empty Flask view, and the same asking Redis."""

import os

import redis
from flask import Flask, jsonify, request

app = Flask(__name__)
store = redis.Redis(unix_socket_path=os.environ.get("BENCH_REDIS", "/nonexistent"))


@app.post("/empty")
def empty() -> object:
    return jsonify(allowed=True, decision="allow")


@app.post("/redis")
def ask_redis() -> object:
    asked = request.get_json()
    out = store.sismember("out:product-news", asked["address"].strip().lower())
    return jsonify(allowed=not out, decision="deny" if out else "allow")


def create_app() -> Flask:
    return app
