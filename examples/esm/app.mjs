import RedisStore from 'connect-redis-native';
import express from 'express';
import session from 'express-session';
import { createClient } from 'redis';

// The client for the app's other data; ioredis and iovalkey work as well.
const client = createClient({ url: process.env.REDIS_URL });
client.on('error', (error) => console.error(error.message));

const app = express();

app.use(
  session({
    store: new RedisStore({ client }), // reads the client's settings, and opens its own connection
    secret: process.env.SESSION_SECRET ?? 'for development only',
    resave: false, // an unchanged session gets a new lifetime, and nothing is written
    saveUninitialized: false, // a visitor who only reads gets no cookie
    cookie: { maxAge: 30 * 60 * 1000, sameSite: 'lax' }, // the lifetime in Redis, too
  }),
);

app.get('/', async (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.send(`Views: ${req.session.views} of ${await client.incr('views')}`);
});

await client.connect();
app.listen(process.env.PORT ?? 3000);
