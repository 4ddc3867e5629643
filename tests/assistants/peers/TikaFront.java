import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import org.apache.tika.exception.TikaException;
import org.apache.tika.exception.UnsupportedFormatException;
import org.apache.tika.metadata.Metadata;
import org.apache.tika.mime.MediaType;
import org.apache.tika.parser.AutoDetectParser;
import org.apache.tika.parser.ParseContext;
import org.apache.tika.sax.BodyContentHandler;

/** tika-server's PUT /tika in front of Apache Tika itself: PyPI has tika-app alone. Its statuses are those of tika-server. */
public class TikaFront {
    public static void main(String[] arguments) throws IOException {
        var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[0]));
        var server = HttpServer.create(address, 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/tika", TikaFront::handle);
        server.start();
    }

    private static void handle(HttpExchange exchange) throws IOException {
        int status = 200;
        String text = "";
        var accept = exchange.getRequestHeaders().getFirst("Accept");
        if (!exchange.getRequestMethod().equals("PUT")) {
            status = 405;
        } else if (!"text/plain".equals(accept)) {
            status = 406;
        } else {
            try {
                text = extract(exchange);
            } catch (UnsupportedFormatException unknown) {
                status = 415;
            } catch (TikaException | org.xml.sax.SAXException unreadable) {
                status = 422;
            } catch (RuntimeException fault) {
                status = 500;
            }
        }
        var body = text.getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain;charset=UTF-8");
        exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
        try (var out = exchange.getResponseBody()) {
            out.write(body);
        }
    }

    private static String extract(HttpExchange exchange) throws IOException, TikaException, org.xml.sax.SAXException {
        var metadata = new Metadata();
        var named = exchange.getRequestHeaders().getFirst("Content-Type");
        // As tika-server does: bytes without a type are looked at.
        if (named != null && !named.equals(MediaType.OCTET_STREAM.toString())) {
            metadata.set(Metadata.CONTENT_TYPE, named);
        }
        var handler = new BodyContentHandler(-1);
        var context = new ParseContext();
        new AutoDetectParser().parse(exchange.getRequestBody(), handler, metadata, context);
        return handler.toString();
    }
}
