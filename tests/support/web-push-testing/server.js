// web-push-testing's own application over TLS and on the loopback address alone: by itself it takes plain HTTP from
// anywhere. `node server.js PEM`: key and certificate. Says its origin once it listens; ends when its input does.
const {readFileSync} = require('node:fs');
const {createServer} = require('node:https');
const {PushApiModel} = require('web-push-testing/src/PushApiModel.js');
const WebPushTestingServer = require('web-push-testing/src/server.js');

const pem = readFileSync(process.argv[2]);
const browsers = new PushApiModel();
const service = new WebPushTestingServer(browsers, 0);
service.setRequestHandlers();
const tls = createServer({key: pem, cert: pem}, service._app);
tls.listen(0, '127.0.0.1', () => {
	const origin = `https://127.0.0.1:${tls.address().port}`;
	browsers.notifyUrl = `${origin}/notify/`;
	console.log(origin);
});
process.stdin.resume().on('end', () => process.exit());
