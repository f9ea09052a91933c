package backtype.storm.spout;

import java.io.Serializable;
import java.util.List;
import org.apache.storm.tuple.Fields;

/** As it was before Storm 1.0, where messages have become ByteBuffers. The spout of Metamorphosis calls it. */
public interface Scheme extends Serializable {
    List<Object> deserialize(byte[] message);

    Fields getOutputFields();
}
