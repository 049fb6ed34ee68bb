// The sentences of the first run, in nine languages and five scripts, written for it.
#pragma once

#include <array>
#include <string_view>

namespace byte_demo {

struct Sentences {
  std::string_view code, language;
  std::array<std::string_view, 3> lines;  ///< line n says the same in every language
};

inline constexpr std::array<Sentences, 9> sentences = {{
    {"en",
     "English",
     {"The ducks swim slowly across the quiet lake before the evening comes.",
      "He opened the door and said that his brother had not come home.",
      "In the morning the people went down to the river to fetch water."}},
    {"de",
     "German",
     {"Die Enten schwimmen langsam über den stillen See, bevor der Abend kommt.",
      "Er öffnete die Tür und sagte, dass sein Bruder nicht nach Hause gekommen sei.",
      "Am Morgen gingen die Leute zum Fluss hinunter, um Wasser zu holen."}},
    {"fr",
     "French",
     {"Les canards nagent lentement sur le lac tranquille avant que le soir ne vienne.",
      "Il ouvrit la porte et dit que son frère n'était pas rentré à la maison.",
      "Le matin, les gens descendirent à la rivière pour chercher de l'eau."}},
    {"es",
     "Spanish",
     {"Los patos nadan despacio por el lago tranquilo antes de que llegue la noche.",
      "Abrió la puerta y dijo que su hermano no había vuelto a casa.",
      "Por la mañana la gente bajó al río para buscar agua."}},
    {"vi",
     "Vietnamese",
     {"Những con vịt bơi chậm rãi trên mặt hồ yên tĩnh trước khi trời tối.",
      "Ông mở cửa và nói rằng anh trai của ông chưa về nhà.", "Buổi sáng, người ta xuống sông để lấy nước."}},
    {"el",
     "Greek",
     {"Οι πάπιες κολυμπούν αργά στην ήσυχη λίμνη πριν έρθει το βράδυ.",
      "Άνοιξε την πόρτα και είπε ότι ο αδελφός του δεν είχε γυρίσει στο σπίτι.",
      "Το πρωί οι άνθρωποι κατέβηκαν στο ποτάμι για να φέρουν νερό."}},
    {"ru",
     "Russian",
     {"Утки медленно плывут по тихому озеру, пока не наступил вечер.",
      "Он открыл дверь и сказал, что его брат не вернулся домой.",
      "Утром люди спустились к реке, чтобы принести воды."}},
    {"ar",
     "Arabic",
     {"يسبح البط ببطء في البحيرة الهادئة قبل أن يأتي المساء.", "فتح الباب وقال إن أخاه لم يعد إلى البيت.",
      "في الصباح نزل الناس إلى النهر ليجلبوا الماء."}},
    {"zh",
     "Chinese",
     {"傍晚来临之前,鸭子在平静的湖面上慢慢地游着。", "他打开门,说他的哥哥还没有回家。", "早晨,人们下到河边去打水。"}},
}};

}  // namespace byte_demo
