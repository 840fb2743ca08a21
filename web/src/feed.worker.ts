/** What all tabs of a browser share: one connection for events, whatever their number. */
import { Reader, type News } from './lib/reader';

const ports = new Set<MessagePort>();
const reader = new Reader((news: News) => ports.forEach((port) => port.postMessage(news)));

(self as unknown as { onconnect: (event: MessageEvent) => void }).onconnect = (event) => {
  const port = event.ports[0]!;
  ports.add(port);
  port.onmessage = (message) => {
    if (message.data === 'again') reader.again();
    if (message.data === 'bye') ports.delete(port);
  };
  port.postMessage(reader.now);
};
void reader.run();
