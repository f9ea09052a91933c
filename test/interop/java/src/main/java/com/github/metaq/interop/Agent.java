package com.github.metaq.interop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Does with the Java client of Metamorphosis what a test tells it: a command a line on standard input, an answer or an event a line on standard
 * output, all JSON. Commands run side by side. It ends with its input, so that nothing is left of a test that died.
 */
public final class Agent {
    private Agent() {}

    public static void main(String[] args) throws Exception {
        Output output = new Output(System.out);
        System.setOut(System.err); // the client's libraries print
        Commands commands = new Commands(output);
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Request request = Request.parse(line);
            threads.execute(() -> commands.run(request));
        }
        Runtime.getRuntime().halt(0);
    }
}
