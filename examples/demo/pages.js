'use strict';

const goods = require('./goods.js');
const { html } = require('./html.js');

const LONGEST_NAME = 40;

function page(title, body) {
  return String(html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} – session demo</title>
    <link rel="icon" href="/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/style.css">
    <script src="/countdown.js" defer></script>
  </head>
  <body>
    <main>
      ${body}
    </main>
    <footer>
      <p>The session is in Redis, by way of <code>connect-redis-native</code>. Stop the demo and start it again: you are still signed in.</p>
    </footer>
  </body>
</html>
`);
}

function signInPage({ problem } = {}) {
  return page(
    'Sign in',
    html`
      <h1>Sign in</h1>
      <form method="post" action="/sign-in">
        <label for="name">Your name</label>
        <input id="name" name="name" required maxlength="${LONGEST_NAME}" autocomplete="username" autofocus
          ${problem && html`aria-invalid="true" aria-describedby="problem"`}>
        ${problem && html`<p id="problem" role="alert">${problem}</p>`}
        <button>Sign in</button>
      </form>
      <p>Any name will do; there is no password.</p>`,
  );
}

/** @param {object} session whose `name`, `views` and `cart` are set */
function shopPage({ name, views, cart, cookie }) {
  return page(
    'Shop',
    html`
      <header>
        <h1>Hello, <span id="user">${name}</span></h1>
        <form method="post" action="/sign-out"><button class="quiet">Sign out</button></form>
      </header>
      <p>You have opened this page <strong id="views">${views}</strong> ${views === 1 ? 'time' : 'times'}.</p>
      <p>Your session ends in ${lifetime(cookie.originalMaxAge)} unless you open a page before.</p>
      <section aria-labelledby="shop-heading">
        <h2 id="shop-heading">Shop</h2>
        <ul class="goods">
          ${[...goods].map(
            ([id, label]) => html`
          <li>${label} ${cartForm('add', id, html`Add <span class="visually-hidden">${label}</span>`)}</li>`,
          )}
        </ul>
      </section>
      <section aria-labelledby="cart-heading">
        <h2 id="cart-heading">Your cart</h2>
        ${cartList(cart)}
      </section>`,
  );
}

function cartList(cart) {
  const lines = [...goods].filter(([id]) => cart[id] > 0);
  if (lines.length === 0) return html`<p>It is empty.</p>`;
  return html`<ul class="goods" id="cart">
          ${lines.map(
            ([id, label]) => html`
          <li>${cart[id]} × ${label} ${cartForm('remove', id, html`Remove <span class="visually-hidden">${label}</span>`)}</li>`,
          )}
        </ul>`;
}

function cartForm(action, item, label) {
  return html`<form method="post" action="/cart/${action}"><button name="item" value="${item}">${label}</button></form>`;
}

/** The page renews the session, so it has its whole lifetime left; countdown.js keeps that up to date. */
function lifetime(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  return html`<span role="timer" id="lifetime" data-seconds="${seconds}">${clock}</span>`;
}

function messagePage(title, text) {
  return page(title, html`<h1>${title}</h1><p>${text}</p><p><a href="/">Try again</a></p>`);
}

module.exports = { LONGEST_NAME, signInPage, shopPage, messagePage };
