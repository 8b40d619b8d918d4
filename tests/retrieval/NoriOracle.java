/*
 * What Lucene 8, the engine inside Elasticsearch 7.10, makes of our analysis settings and of its BM25:
 *
 *     java -cp JARS NoriOracle.java PASSAGE_MODE QUESTION_MODE FILTERS RULES K1 B PASSAGES QUESTIONS
 *
 * FILTERS are names of token filters with commas between; RULES, PASSAGES and QUESTIONS are files, a passage being a
 * title, a tab and a text. Prints, with tabs between:
 *
 *     passage  ROW  FIELD  TERM  INCREMENT       every term of every passage, with its step in position
 *     question NUMBER  TERM
 *     hit      NUMBER  ROW  SCORE                 best first, ties by row
 */
import java.io.PrintStream;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.lucene.analysis.Analyzer;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.core.LowerCaseFilter;
import org.apache.lucene.analysis.ko.KoreanPartOfSpeechStopFilter;
import org.apache.lucene.analysis.ko.KoreanReadingFormFilter;
import org.apache.lucene.analysis.ko.KoreanTokenizer;
import org.apache.lucene.analysis.ko.dict.UserDictionary;
import org.apache.lucene.analysis.tokenattributes.CharTermAttribute;
import org.apache.lucene.analysis.tokenattributes.PositionIncrementAttribute;
import org.apache.lucene.document.Document;
import org.apache.lucene.document.Field;
import org.apache.lucene.document.NumericDocValuesField;
import org.apache.lucene.document.TextField;
import org.apache.lucene.index.DirectoryReader;
import org.apache.lucene.index.IndexWriter;
import org.apache.lucene.index.IndexWriterConfig;
import org.apache.lucene.search.BooleanClause;
import org.apache.lucene.search.BooleanQuery;
import org.apache.lucene.search.FieldDoc;
import org.apache.lucene.search.IndexSearcher;
import org.apache.lucene.search.Query;
import org.apache.lucene.search.ScoreDoc;
import org.apache.lucene.search.Sort;
import org.apache.lucene.search.SortField;
import org.apache.lucene.search.similarities.Similarity;
import org.apache.lucene.search.similarity.LegacyBM25Similarity;
import org.apache.lucene.store.ByteBuffersDirectory;
import org.apache.lucene.util.QueryBuilder;

public class NoriOracle {
  static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
  static final String[] FIELDS = {"title", "text"};

  static Analyzer analyzer(String mode, String[] filters, UserDictionary rules) {
    KoreanTokenizer.DecompoundMode decompound = KoreanTokenizer.DecompoundMode.valueOf(mode.toUpperCase());
    return new Analyzer() {
      @Override
      protected TokenStreamComponents createComponents(String field) {
        Tokenizer tokenizer =
            new KoreanTokenizer(TokenStream.DEFAULT_TOKEN_ATTRIBUTE_FACTORY, rules, decompound, false, true);
        TokenStream stream = tokenizer;
        for (String filter : filters) {
          switch (filter) {
            case "nori_part_of_speech": stream = new KoreanPartOfSpeechStopFilter(stream); break;
            case "nori_readingform": stream = new KoreanReadingFormFilter(stream); break;
            case "lowercase": stream = new LowerCaseFilter(stream); break;
            default: throw new IllegalArgumentException(filter);
          }
        }
        return new TokenStreamComponents(tokenizer, stream);
      }
    };
  }

  static void print(Analyzer analyzer, String text, String prefix, boolean withIncrement) throws Exception {
    try (TokenStream stream = analyzer.tokenStream("", text)) {
      CharTermAttribute term = stream.addAttribute(CharTermAttribute.class);
      PositionIncrementAttribute increment = stream.addAttribute(PositionIncrementAttribute.class);
      stream.reset();
      while (stream.incrementToken()) {
        OUT.println(prefix + "\t" + term + (withIncrement ? "\t" + increment.getPositionIncrement() : ""));
      }
      stream.end();
    }
  }

  public static void main(String[] args) throws Exception {
    UserDictionary rules;
    try (Reader reader = Files.newBufferedReader(Path.of(args[3]))) {
      rules = UserDictionary.open(reader);
    }
    String[] filters = args[2].split(",");
    Analyzer ofPassages = analyzer(args[0], filters, rules);
    Analyzer ofQuestions = analyzer(args[1], filters, rules);
    // Elasticsearch's "BM25" is this one: Lucene's own since version 8 lacks the factor k1 + 1.
    Similarity similarity = new LegacyBM25Similarity(Float.parseFloat(args[4]), Float.parseFloat(args[5]));

    ByteBuffersDirectory directory = new ByteBuffersDirectory();
    List<String> passages = Files.readAllLines(Path.of(args[6]));
    try (IndexWriter writer =
        new IndexWriter(directory, new IndexWriterConfig(ofPassages).setSimilarity(similarity))) {
      for (int row = 0; row < passages.size(); row++) {
        String[] values = passages.get(row).split("\t", 2);
        Document document = new Document();
        document.add(new NumericDocValuesField("row", row));
        for (int field = 0; field < FIELDS.length; field++) {
          document.add(new TextField(FIELDS[field], values[field], Field.Store.NO));
          print(ofPassages, values[field], "passage\t" + row + "\t" + FIELDS[field], true);
        }
        writer.addDocument(document);
      }
    }

    IndexSearcher searcher = new IndexSearcher(DirectoryReader.open(directory));
    searcher.setSimilarity(similarity);
    QueryBuilder builder = new QueryBuilder(ofQuestions); // what the server's match queries are built with
    Sort sort = new Sort(SortField.FIELD_SCORE, new SortField("row", SortField.Type.LONG));
    List<String> questions = Files.readAllLines(Path.of(args[7]));
    for (int number = 0; number < questions.size(); number++) {
      print(ofQuestions, questions.get(number), "question\t" + number, false);
      BooleanQuery.Builder sum = new BooleanQuery.Builder();
      for (String field : FIELDS) {
        Query query = builder.createBooleanQuery(field, questions.get(number));
        if (query != null) {
          sum.add(query, BooleanClause.Occur.SHOULD);
        }
      }
      for (ScoreDoc hit : searcher.search(sum.build(), passages.size(), sort).scoreDocs) {
        Object[] values = ((FieldDoc) hit).fields;
        OUT.println("hit\t" + number + "\t" + values[1] + "\t" + values[0]);
      }
    }
  }
}
