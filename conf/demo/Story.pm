package Story;

# How a story is told: each call is printed with its answer and the events that
# come of it, and ends the story if one of them is not what was expected.

use strict;
use warnings;

use Exporter qw(import);
use HTTP::Tiny;
use IO::Socket::UNIX;
use JSON::PP ();

use Demo;

our @EXPORT = qw(title remark shows call knock own around operator event
                 messages api_log records);

my $DIR = Demo::dir();
my $DOOR = 'http://127.0.0.1:' . Demo::port();
my $OWN = 'http://127.0.0.1:' . Demo::own_port();

# Whatever proxy is configured, this stays on the machine.
my $http = HTTP::Tiny->new(proxy => undef, http_proxy => undef,
                           https_proxy => undef);
my $json = JSON::PP->new->utf8->canonical;

# What stands in the logs already, others have done.
my %from = map { $_ => length Demo::slurp("$DIR/$_.log") }
               qw(audit api events);

my $ends = 0;       # how many outcomes must be on record
my $sent = 0;       # messages to people
my %standing;       # those not withdrawn, by request and stage


sub title {
    my ($text) = @_;

    print "\n$text\n\n";
}

sub remark {
    my ($text) = @_;

    print map { "  $_\n" } split /\n/, $text;
    print "\n";
}

# What the answer shows besides.
sub shows {
    my ($text, $is_so) = @_;

    $is_so or fail("it should be so: $text");
    print "       $text\n";
}

# Of the engineers' door: who, method, path; and token (a login, unless one is
# given), headers, body, a note; the answer to expect, and what is told to
# people because of it.  Returns the answer's JSON.
sub call {
    my ($role, $method, $path, %call) = @_;

    my $token = exists $call{token} ? $call{token} : Demo::identity($role);
    my %headers = %{ $call{headers} // {} };
    $headers{Authorization} = "Bearer $token" if $token;
    $headers{'Content-Type'} = 'application/json' if $call{body};

    say_call(join(', ', person($role), $call{note} // ()), "$method $path",
             $call{body});

    # what is only looked at is not on record
    $ends++ unless $method eq 'GET' && $path =~ m{^/lockbox/}
                   && $call{expect} =~ /^2/;

    my $value = answer($http->request($method, "$DOOR$path", {
        headers => \%headers,
        defined $call{body} ? (content => $call{body}) : (),
    }), $call{expect});

    event($_) for @{ $call{tells} // [] };

    return $value;
}

# With a grant, and whatever else she claims.
sub knock {
    my ($grant, $method, $path, $expect, %headers) = @_;

    my @claims = map { "saying $_: $headers{$_}" } sort keys %headers;

    call('engineer', $method, $path, token => $grant, headers => \%headers,
         note => join(', ', 'with the grant', @claims), expect => $expect);
}

# By a tenant's own application, with its key.
sub own {
    my ($tenant, $path, $expect) = @_;

    my ($key) = Demo::slurp("$DIR/$tenant.key") =~ /(\S+)/;

    say_call("${tenant}'s own application, at $OWN", "GET $path");
    answer($http->request('GET', "$OWN$path",
                          { headers => { 'X-Api-Key' => $key } }), $expect);
}

# Straight to the tenant API.
sub around {
    my ($path, $expect) = @_;

    say_call(person('engineer') . ", at $DIR/api.sock, around both doors",
             "GET $path");

    my $socket = socket_at('api.sock');
    print {$socket} "GET $path HTTP/1.0\r\n\r\n";

    my ($status, $body) = do { local $/; <$socket> }
        =~ m{^HTTP/1\.1 (\d+) .*?\r\n\r\n(.*)}s;

    answer({ status => $status, content => $body }, $expect);
}

# A command to Redis, with the password that the module has.
sub operator {
    my ($expect, @command) = @_;

    my ($password) = Demo::slurp("$DIR/redis.password") =~ /(\S+)/;
    my $socket = socket_at('redis.sock');

    say_call("somebody with the password of Redis, at $DIR/redis.sock",
             "@command");

    print {$socket} redis_command('AUTH', 'lockbox', $password),
                    redis_command(@command);

    my (undef, $line) = map { scalar readline $socket } 1 .. 2;
    my $answer = ($line // 'nothing') =~ s/^[:+-]|\r\n\z//gr;

    print "    -> $answer\n";
    $answer eq $expect or fail("the answer should be $expect");
}

# The next event.  It comes behind the answer, by a request of nginx's own.
sub event {
    my ($expect) = @_;

    my $line = Demo::poll(sub {
        my $new = substr Demo::slurp("$DIR/events.log"), $from{events};
        return $new =~ /^(.*\n)/ ? $1 : undef;
    }) or fail("an event is missing in $DIR/events.log: $expect");

    $from{events} += length $line;

    my $told = message($json->decode($line));

    print "    => $told\n";
    $told eq $expect or fail("the event should be: $expect");
}

# How many messages there were, and the last event as it came.
sub messages {
    %standing and fail('messages that nobody needs were not withdrawn');
    length Demo::slurp("$DIR/events.log") == $from{events}
        or fail("there are more events in $DIR/events.log");

    print "    $sent messages were sent, and all have been withdrawn.  ",
          "What withdrew the last one:\n\n",
          "    \$ tail -n 1 $DIR/events.log\n",
          (split /^/, Demo::slurp("$DIR/events.log"))[-1];
}

sub api_log {
    print map { "    $_" } split /^/, substr Demo::slurp("$DIR/api.log"),
                                             $from{api};
}

# The audit records about a request.  An outcome is written after the answer
# has left, so the last ones may still be coming.  What time does has no
# client, and one or more workers come to record it.
sub records {
    my ($title, $id) = @_;

    my $lines = Demo::poll(sub {
        my @lines = split /^/, substr Demo::slurp("$DIR/audit.log"),
                                      $from{audit};
        return \@lines
            if grep({ /"event\.type":"end".*"http\.request\.method"/ } @lines)
               == $ends;
    }) or fail("records are missing in $DIR/audit.log");
    my @about = grep { index($_, $id) >= 0 } @$lines;

    title("$title: " . @about . ' of ' . @$lines . ' records');
    print "    \$ grep $id $DIR/audit.log\n", @about;
}


# Printing

# "carl, customer of acme"
sub person {
    my ($role) = @_;

    my ($title, $tenant) = split /-/, $role;
    $tenant //= 'acme' if $title eq 'customer';

    return Demo::name_of($role) . ", $title" . ($tenant ? " of $tenant" : '');
}

sub say_call {
    my ($who, $line, $body) = @_;

    print "  $who\n    $line\n";
    print map { "      $_" } split /^/, $body =~ s/\n*\z/\n/r if $body;
}

# Prints the answer: its status and word, or its data.
sub answer {
    my ($response, $expect) = @_;

    my $value = eval { $json->decode($response->{content}) };
    my $word = ref $value eq 'HASH' ? word($value) : undef;
    my $found = join ' ', grep { defined } $response->{status}, $word;

    print "    -> $found", said($value, $word), "\n";
    print map { "       $_" } split /^/, $response->{content}
        if $found eq '200';

    $found eq $expect
        or fail("the answer should be $expect: $response->{content}");

    return $value;
}

sub word {
    my ($value) = @_;

    my ($word) = grep { defined } @$value{qw(code state error token_type)};

    return $word // (exists $value->{policy} ? 'policy' : undef);
}

# What is worth saying besides.
sub said {
    my ($value, $word) = @_;

    return '' unless defined $word;
    return ': ' . problem($value) if $value->{detail};
    return ": ends in $value->{expires_in} seconds" if $word eq 'Bearer';
    return ": version $value->{version}" if $word eq 'policy';
    return ": answer by $value->{answer_by}"
        if $word =~ /^(?:awaiting_|needs_info)/;
    return ": $value->{starts_at} to $value->{expires_at}, "
           . join ', ', map { item($_) } @{ $value->{access} }
        if $word eq 'approved';
    return ": effective by $value->{effective_by}" if $word eq 'revoked';
    return ": at $value->{ended_at}" if $value->{ended_at};
    return '';
}

sub problem {
    my ($value) = @_;

    return join ' ', $value->{member} // (), $value->{detail},
           $value->{state}
           ? "It is $value->{state}, version $value->{version}." : ();
}

# "GET mail /tenants/acme/mail/messages"
sub item {
    my ($item) = @_;

    return join ' ', map { ref $_ ? join('|', @$_) : $_ }
                         @$item{qw(methods service paths)};
}

# An event, and what a notifier does about it that keeps account of what it
# has sent to whom.
sub message {
    my ($event) = @_;

    my $data = $event->{data};
    my ($opens, $settles) = @$data{qw(opens settles)};
    my @does;

    if ($settles) {
        my $number = delete $standing{"$event->{subject} $settles"}
            // fail("no message to the $settles could be withdrawn");

        push @does, "message $number is withdrawn";
    }

    if ($opens) {
        $standing{"$event->{subject} $opens"} = ++$sent;
        push @does, "message $sent goes to the $opens";
    }

    my $what = join ' ', $data->{event},
               $data->{actor} ? "by $data->{actor}{sub}" : 'by time',
               $data->{preapproval} ? "beforehand ($data->{preapproval})" : ();

    return @does ? "$what: " . join ', ', @does : $what;
}

sub fail {
    die "$0: $_[0]\n";
}


# Sockets

sub socket_at {
    my ($name) = @_;

    return IO::Socket::UNIX->new("$DIR/$name") // fail("$DIR/$name: $!");
}

sub redis_command {
    return join '', '*', scalar @_, "\r\n",
                map { ('$', length, "\r\n", $_, "\r\n") } @_;
}


1;
