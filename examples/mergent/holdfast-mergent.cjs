// Lets the `mergent` package talk to your own Holdfast. The package knows one address only, https://api.mergent.co; this
// file sends what is meant for that to HOLDFAST_URL instead, and touches nothing else.
//
//   HOLDFAST_URL=https://jobs.example.com node --require ./holdfast-mergent.cjs app.js
//   NODE_OPTIONS="--require ./holdfast-mergent.cjs"                 the same, for whatever starts node
//   require("./holdfast-mergent.cjs")                               or as the first line of the app
"use strict";

const http = require("node:http");
const https = require("node:https");

const HOST = "api.mergent.co";
const target = new URL(process.env.HOLDFAST_URL || "http://127.0.0.1:8765");
const send = target.protocol === "https:" ? https.request : http.request;
const original = https.request;

https.request = function request(options, ...rest) {
  const url = typeof options === "string" ? new URL(options) : options;
  if (!url || (url.hostname || url.host) !== HOST) return original.call(https, options, ...rest);
  const path = url.path || `${url.pathname}${url.search || ""}`;
  return send({
    protocol: target.protocol,
    hostname: target.hostname.replace(/^\[|\]$/g, ""),
    port: target.port || undefined,
    path: target.pathname.replace(/\/$/, "") + path,
    method: url.method,
    headers: withoutHost(url.headers),
  }, ...rest);
};

function withoutHost(headers) {
  return Object.fromEntries(Object.entries(headers || {}).filter(([name]) => name.toLowerCase() !== "host"));
}
