'use strict';

// A preload: subscribes to all tracing channels, and binds a store to their starts.

const { bindContext, recordTraces } = require('../traces.js');

recordTraces();
bindContext();
