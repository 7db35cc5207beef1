import { RedisStore } from 'connect-redis-native';
import express from 'express';
import session from 'express-session';

// The data of a session, for `req.session` and for what the store returns.
declare module 'express-session' {
  interface SessionData {
    views: number;
  }
}

const store = new RedisStore({
  url: process.env.REDIS_URL, // by default, a Redis on this machine
  ttl: (session) => (session.views > 100 ? 7 * 86_400 : 3_600), // seconds: regulars are remembered for longer
});

const app = express();

app.use(
  session({
    store,
    secret: process.env.SESSION_SECRET ?? 'for development only',
    resave: false, // an unchanged session gets a new lifetime, and nothing is written
    saveUninitialized: false, // a visitor who only reads gets no cookie
  }),
);

app.get('/', (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`Views: ${req.session.views}`);
});

app.listen(process.env.PORT ?? 3000);
