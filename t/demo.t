#!/usr/bin/perl

# Why: "make run" is the first thing that anybody sees of this.  It must work
# at once, twice, for root and for others, from anywhere, and leave nothing.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Socket::INET;
use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Schema;

my $TOP = abs_path(dirname(__FILE__) . '/..');

if (defined $ENV{LOCKBOX_STATIC}) {
    plan(skip_all => 'the demonstration loads the module');
}

my $t = Test::Lockbox->new;
my $base = $t->testdir;
my $dir = "$base/lockbox-demo-$>";
my $door = 'http://127.0.0.1:' . $t->port(8080);

# workers of root's nginx are another user's
chmod 0711, $base or die "$base: $!\n";

%ENV = (%ENV, LOCKBOX_DEMO_TMPDIR => $base,
        LOCKBOX_DEMO_PORT => $t->port(8080),
        LOCKBOX_DEMO_OWN_PORT => $t->port(8081));
delete @ENV{qw(http_proxy https_proxy all_proxy ALL_PROXY)};

# Before the world's own: nothing of the demonstration outlives this test.
END {
    local $?;
    demo('stop') if defined $dir && -d $dir;
}

my $THE_STORY = <<'EOF_STORY';
Nobody has standing access
401 no_token
401 wrong_type
403 not through a door
The customers have a door of their own, and nothing changes there
200
401 not your key
The engineer asks for what she needs
201 awaiting_manager
The manager comes first, and nobody approves what is their own
409 conflict
403 forbidden_role
409 conflict
200 awaiting_customer
Then the customer, and only the one whose data it is
404 not_found
200 approved
The engineer collects the grant and reads the mail
200 Bearer
200
200
And nothing else
403 wrong_tenant
403 wrong_method
403 wrong_path
403 wrong_service
403 wrong_label
The customer has seen enough
200 revoked
401 revoked
What the tenant API was told
What is on record, intents and outcomes, of all that Lockbox saw
EOF_STORY

# Runs a command of a shell, from a directory that has nothing to do with it.
sub shell {
    my ($command) = @_;

    local $?;
    my $output = `cd / && { $command\n} 2>&1`;

    return wantarray ? ($? >> 8, $output) : $output;
}

sub demo {
    my ($command) = @_;

    return shell("'$TOP'/conf/demo/$command");
}

sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;

    return <$fh>;
}

# nginx, its workers, and Redis
sub processes {
    my %named = map { $_ => 1 }
                map { slurp("$dir/$_.pid") =~ /(\d+)/ } qw(nginx redis);
    my @workers;

    for my $file (glob '/proc/[0-9]*/stat') {
        my ($pid, $parent) = slurp($file) =~ /^(\d+) .*\) \S (\d+)/s or next;
        push @workers, $pid if $named{$parent};
    }

    return (keys %named, @workers);
}

sub running {
    return grep { slurp("/proc/$_/cmdline") ne '' } @_;
}

sub mode {
    my ($file) = @_;

    return sprintf '%o', (stat "$dir/$file")[2] & 07777;
}

# Titles and answers, in order.
sub story_of {
    my ($output) = @_;

    my ($told) = $output =~ /engineers come to [^\n]*\n(.*)\nIt goes on/s
        or return $output;
    my @story = map {
        /\A\n?([A-Z][^:\n]*)[^\n]*\z/ ? $1 : /^    -> ([^:\n]+)/mg
    } split /\n\n/, $told;

    return join '', map { "$_\n" } @story;
}

# The lines to go on with by hand.
sub by_hand {
    my ($output) = @_;

    return $output =~ /in this order:\n(.*)\nThe audit log/s ? $1 : 'false';
}


# What stands in the way

my $stranger = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                     LocalPort => $t->port(8081),
                                     ReuseAddr => 1);

my ($exit, $output) = demo('run');

isnt($exit, 0, 'it does not start where somebody else listens');
like($output, qr/127\.0\.0\.1:@{[ $t->port(8081) ]} .* LOCKBOX_DEMO_OWN_PORT/x,
     'and says where that is');
ok(!-e $dir, 'and leaves nothing behind');
close $stranger;

mkdir "$base/target" or die "$base/target: $!\n";
symlink "$base/target", $dir or die "$dir: $!\n";

for my $script (qw(run stop)) {
    ($exit, $output) = demo($script);
    isnt($exit, 0, "$script does not follow a link");
    like($output, qr/\Q$dir\E is not a directory of yours/, 'and says so');
}

ok(-d "$base/target", 'and leaves alone what it leads to');
unlink $dir;

SKIP: {
    skip('only root can make what is another\'s', 1) if $> != 0;

    mkdir $dir;
    chown 65534, 65534, $dir;
    isnt((demo('run'))[0], 0, 'nor does it use what is another\'s');
    rmdir $dir;
}

for my $part (qw(REDIS NGINX)) {
    ($exit, $output) = shell("LOCKBOX_$part=false '$TOP'/conf/demo/run");
    isnt($exit, 0, "it does not run without $part");
    like($output, qr/\Q$part\E does not start/i, 'and says so');
    ok(!-e $dir, 'and leaves nothing behind');
}

is_deeply([ demo('stop') ], [ 0, "the demonstration does not run\n" ],
          'there is nothing to stop');

($exit, $output) = demo('token engineer');
isnt($exit, 0, 'nor anybody to be');
like($output, qr/make run/, 'until it is started');


# The story

($exit, $output) = demo('run');

is($exit, 0, 'it runs') or diag($output);
is(story_of($output), $THE_STORY, 'the story is told');
is(join("\n", $output =~ /^    => (.*)$/mg), <<'EOF_TOLD' =~ s/\n\z//r,
a message: filed by erin, the manager is asked
a message: approved by mona, no more need of the manager, the customer is asked
a message: approved by carl, no more need of the customer
a message: collected by erin
a message: revoked by carl
EOF_TOLD
   'and who would be told');
like($output, qr/"subject": "Undelivered mail returned to sender"/,
     'the engineer has read mail');
unlike($output, qr/Counsel|Privileged|globex\.example/i,
       'and nothing that was not hers');

my @records = $output =~ /^(\{"\@timestamp".*)\n/mg;
my $shown = $output =~ /^    \$ (tail -n \d+ \S+)$/m ? $1 : 'false';

is(join('', map { "$_\n" } @records), shell($shown),
   'its records are what tail shows');

my $json = JSON::PP->new->utf8;
my $schema = Test::Lockbox::Schema->new(
    $json->decode(slurp("$TOP/conf/audit-record.schema.json")));

is(join("\n", map { $schema->faults($json->decode($_)) } @records), '',
   'and what the schema says');
like($records[-1], qr/"event\.reason":"revoked"/, 'to the last');

my $told = slurp("$dir/api.log");

is(scalar(() = $told =~ /^engineers .* subject=erin /mg), 2,
   'the tenant API heard who it was, and not what she claimed');
is(scalar(() = $told =~ / authorization=-$/mg), scalar(() = $told =~ /\n/g),
   'and never saw a grant');
is(slurp("$dir/access.log") =~ tr/\n//, 19, 'what the door saw is in its log');
unlike(slurp("$dir/access.log"), qr/eyJ/, 'without tokens');

is(mode('.'), '755', 'workers can enter the directory');
is(mode($_), '600', "$_ is the owner's alone")
    for qw(redis.password redis.conf secrets.conf acme.key
           keys/P-256-signing.pem keys/P-256-vendor.pem
           keys/RSA2048-customers.pem);
is(mode('keys'), '700', 'and so are all keys');


# By hand

my $answers = shell('{' . by_hand($output) . "\n} 2>/dev/null");

like($answers, qr/^\{"iss":"[^"]+","sub":"erin"/, 'a pasted line: who is it');

is_deeply([ $answers =~ /"(?:state|code|subject)":\s?"([^"]+)"/g ], [
    'awaiting_customer', 'approved', 'Draft of the Tamarack contract',
    'wrong_service', 'revoked', 'revoked',
    'revoked', 'revoked',
    'Order 88-1730: 40 anvils', 'Undelivered mail returned to sender',
    'Where is the mail from Tamarack?',
], 'the others: two approvals, in, not further, the end, what is left')
    or diag($answers);

for my $role (qw(engineer manager customer customer-globex auditor)) {
    my ($token) = demo("token $role") =~ /^(\S+)$/;
    my $response = $t->http('GET', '/lockbox/v1/whoami', token => $token);

    is($response->json->{roles}[0], $role =~ s/-.*//r, "$role is one");
}

($exit, $output) = demo('token somebody');
isnt($exit, 0, 'nobody is somebody');
like($output, qr/auditor\|customer\|customer-globex\|engineer\|manager/,
     'there are others');


# A story that goes wrong

unlink "$dir/data/tenants/acme/mail/messages/1043.json";
($exit, $output) = demo('story');

isnt($exit, 0, 'the story fails with an answer that it does not expect');
like($output, qr/the answer should be 200: .*no such thing/, 'and says which');


# Again

my @before = processes();

is(scalar @before, 4, 'nginx, two workers and Redis run');

($exit, $output) = shell("LC_ALL=xx_YY.UTF-8 '$TOP'/conf/demo/run");

is($exit, 0, 'it runs again, with any locale') or diag($output);
like($output, qr/the demonstration that ran in \Q$dir\E is over/,
     'and ends what ran');
is(story_of($output), $THE_STORY, 'the story is the same');
is(scalar running(@before), 0, 'nothing of the first is left');

my @after = processes();

is(scalar running(@after), 4, 'the second runs');
is_deeply([ demo('stop') ],
          [ 0, "the demonstration that ran in $dir is over\n" ], 'it ends');
is(scalar running(@after), 0, 'no process is left');
ok(!-e $dir, 'and no file');
ok(!eval { $t->http('GET', '/') }, 'and nobody listens');


# Somebody else

SKIP: {
    my $user = getpwnam('nobody');

    skip('only root can be another', 5)
        unless $> == 0 && defined $user && system('setpriv true') == 0;

    my $copy = "$base/a copy";
    my $module = $ENV{LOCKBOX_MODULE}
        // "$TOP/build/ngx_http_lockbox_module.so";

    system('mkdir', '-p', "$copy/t/lib", "$copy/build", "$base/home") == 0
        && system('cp', '-R', "$TOP/conf", $copy) == 0
        && system('cp', '-R', "$TOP/t/lib/Lockbox", "$copy/t/lib") == 0
        && system('cp', $module, "$copy/build/ngx_http_lockbox_module.so") == 0
        && system('chown', '-R', $user, $copy, "$base/home") == 0
        or die "no copy\n";

    $dir = "$base/home/lockbox-demo-$user";
    local $ENV{LOCKBOX_DEMO_TMPDIR} = "$base/home";

    my $as = "setpriv --reuid=$user --regid=$user --clear-groups env "
             . "-u LOCKBOX_MODULE -u PERL5LIB HOME=$base/home "
             . 'PATH=/usr/bin:/bin';

    # a TMPDIR of root's own is closed to others, and so is all in it
    skip('nobody else can come here', 5)
        if (shell("$as test -r '$copy/conf/demo/run'"))[0] != 0;

    ($exit, $output) = shell("$as '$copy/conf/demo/run'");

    is($exit, 0, 'it runs for others, from anywhere') or diag($output);
    is(story_of($output), $THE_STORY, 'and tells the story');

    $answers = shell("cat > '$base/lines' <<'EOF_LINES'\n" . by_hand($output)
                     . "\nEOF_LINES\n$as sh '$base/lines' 2>/dev/null");
    like($answers, qr/"sub":"erin".*"awaiting_customer".*"approved"/s,
         'with lines to paste');

    my @others = processes();

    ($exit, $output) = shell("$as '$copy/conf/demo/stop'");
    is($exit, 0, 'which they can stop') or diag($output);
    is(scalar running(@others), 0, 'without a trace');
}

done_testing;
